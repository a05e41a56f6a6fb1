//! The description of the API is true: requests are made from it, valid ones and invalid ones, and every answer must be one that it
//! describes. The requests are schemathesis'; `scripts/test.sh` installs it.

use crate::common::score::Score;
use crate::common::{Sandbox, text};
use std::process::Command;

/// Requests for each route and kind.
const EXAMPLES: &str = "40";

#[test]
fn every_answer_is_one_that_the_description_has() {
    let program = std::env::var("MIG_SCHEMATHESIS").unwrap_or_else(|_| "schemathesis".to_owned());
    if let Err(error) = Command::new(&program).arg("--version").output() {
        return Score::begin("openapi").skip(&format!("{program}: {error}; it comes from PyPI"));
    }
    let sandbox = Sandbox::new();
    sandbox.register(2);
    sandbox.drop_action("look.json");
    sandbox.once("action-new,command-ready");
    sandbox.agent_once(1);
    sandbox.once("results,command-returned,periodic");
    let api = sandbox.start_api();
    let session = api.post("session/create/", &[]).named("session").remove(0);
    let checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,\
        negative_data_rejection";
    let output = Command::new(&program)
        .current_dir(sandbox.path(""))
        .args(["run", &format!("{}openapi.json", api.url), "--checks", checks, "--phases", "examples,coverage,fuzzing"])
        .args(["--max-examples", EXAMPLES, "--seed", "1", "--workers", "2", "--no-color", "--continue-on-failure"])
        // Either would end the session that the others use.
        .args(["--exclude-path-regex", "session/"])
        .args(["-H", &format!("Authorization: Bearer {}", session["token"].as_str().unwrap())])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", text(&output));
    let log = std::fs::read_to_string(sandbox.path("api.log")).unwrap();
    assert!(!log.contains("panicked"), "{log}");
}
