//! The API in a sandbox, and requests to it.

use super::{Background, PATIENCE, Sandbox, write_private};
use mig::signature;
use mig::time;
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// A running `mig-api`; it ends with the test.
pub struct Api {
    /// The process.
    pub process: Background,
    /// Its base, with a slash at the end.
    pub url: String,
    /// Its port.
    pub port: u16,
    /// The secret key that signs tokens.
    key: String,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The headers, with names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The values of the items, by the name of the first datum.
    pub fn values(&self) -> Vec<(String, Value)> {
        let body = self.json();
        let items = body["collection"]["items"].as_array().cloned().unwrap_or_default();
        let first =
            |item: &Value| (item["data"][0]["name"].as_str().unwrap().to_owned(), item["data"][0]["value"].clone());
        items.iter().map(first).collect()
    }

    /// The values of items whose first datum has this name.
    pub fn named(&self, name: &str) -> Vec<Value> {
        self.values().into_iter().filter(|(found, _)| found == name).map(|(_, value)| value).collect()
    }

    /// The message of an error.
    pub fn message(&self) -> String {
        self.json()["collection"]["error"]["message"].as_str().unwrap_or_default().to_owned()
    }

    /// A header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(found, _)| found == name).map(|(_, value)| value.as_str())
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A client that follows no redirect and takes every status as an answer.
pub fn client() -> ureq::Agent {
    let config = ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    config.build().new_agent()
}

fn answer(response: ureq::http::Response<ureq::Body>) -> Answer {
    let status = response.status().as_u16();
    let text = |value: &ureq::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
    let headers = response.headers().iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect();
    let read = response.into_body().into_with_config().limit(1 << 30).read_to_string();
    let body = read.unwrap_or_else(|e| panic!("{status} {headers:?}: {e}"));
    Answer { status, headers, body }
}

impl Sandbox {
    /// The configuration of the API, with further lines.
    pub fn api_cfg(&self, port: u16, more: &str) -> String {
        let store = self.api_sections.clone().unwrap_or_else(|| self.store_section());
        let text = format!(
            "[server]\nport = {port}\n{more}\n[directories]\nspool = \"{}\"\n{store}\n[logging]\nlevel = \"debug\"\n",
            self.spool().display()
        );
        let path = self.path("api.cfg");
        write_private(&path, &text);
        path.display().to_string()
    }

    /// Runs `mig-api` to its end.
    pub fn api(&self, arguments: &[&str]) -> Output {
        let cfg = self.api_cfg(1, "");
        Command::new(env!("CARGO_BIN_EXE_mig-api")).arg("-c").arg(cfg).args(arguments).output().unwrap()
    }

    /// Adds the sandbox's investigator.
    pub fn add_investigator(&self) {
        let output = self.api(&["--add-investigator", "Test", self.path("key.pub").to_str().unwrap()]);
        assert!(output.status.success(), "{}", super::text(&output));
    }

    /// Starts the API, for the sandbox's investigator.
    pub fn start_api(&self) -> Api {
        self.add_investigator();
        self.start_api_with("")
    }

    /// Starts it with further lines of the configuration.
    pub fn start_api_with(&self, more: &str) -> Api {
        let started = Instant::now();
        loop {
            let port = free_port();
            let mut command = Command::new(env!("CARGO_BIN_EXE_mig-api"));
            command.arg("-c").arg(self.api_cfg(port, more));
            let mut process = Background::start(command, self.path("api.log"));
            while process.0.try_wait().unwrap().is_none() {
                if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    let url = format!("http://127.0.0.1:{port}/api/v1/");
                    return Api { process, url, port, key: self.keys.1.clone() };
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            let log = std::fs::read_to_string(self.path("api.log")).unwrap();
            // Another test may have taken the port meanwhile.
            assert!(log.contains("Address already in use") && started.elapsed() < PATIENCE, "{log}");
        }
    }
}

/// A token signed with a key.
pub fn token(key: &str, time: time::Timestamp, nonce: &str) -> String {
    let text = format!("1;{};{nonce}", time.round(jiff::Unit::Second).unwrap());
    let signature = signature::sign_with_key(&format!("{text}\n"), key.as_bytes(), time::now()).unwrap();
    format!("{text};{signature}")
}

impl Api {
    /// A token of the sandbox's investigator.
    pub fn token(&self) -> String {
        token(&self.key, time::now(), &format!("{:?}", Instant::now()).replace(';', ""))
    }

    /// GET with these headers.
    pub fn get_with(&self, path: &str, headers: &[(&str, &str)]) -> Answer {
        let request = client().get(format!("{}{path}", self.url));
        answer(headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).call().unwrap())
    }

    /// GET with a token.
    pub fn get(&self, path: &str) -> Answer {
        self.get_with(path, &[("X-PGPAUTHORIZATION", &self.token())])
    }

    /// The events of an action until their stream ends, as name, id and data.
    pub fn events(&self, action: u64, last: Option<&str>) -> Vec<(String, Option<String>, Value)> {
        let request = client().get(format!("{}action/events?actionid={action}", self.url));
        let request = request.header("X-PGPAUTHORIZATION", self.token());
        let request = last.into_iter().fold(request, |request, last| request.header("Last-Event-ID", last));
        let response = request.call().unwrap();
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        let (mut found, mut name, mut id) = (Vec::new(), String::new(), None);
        for line in BufReader::new(response.into_body().into_reader()).lines() {
            let line = line.unwrap();
            match line.split_once(": ") {
                Some(("event", value)) => name = value.to_owned(),
                Some(("id", value)) => id = Some(value.to_owned()),
                Some(("data", value)) => found.push((name.clone(), id.take(), serde_json::from_str(value).unwrap())),
                _ => {}
            }
        }
        found
    }

    /// POST of a form, with these headers.
    pub fn post_with(&self, path: &str, form: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
        let request = client().post(format!("{}{path}", self.url));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        answer(request.send_form(form.iter().copied()).unwrap())
    }

    /// POST of a form, with a token.
    pub fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.post_with(path, form, &[("X-PGPAUTHORIZATION", &self.token())])
    }
}
