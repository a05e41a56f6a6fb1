//! `mig` where the API is another: of the original, or one whose connection is lost; and on a terminal.

use crate::common::Sandbox;
use crate::mig::Laptop;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

/// The answers of the original's API, as they were captured.
const CAPTURES: &str = include_str!("../samples/api-responses.txt");
/// The captured action.
const ACTION: &str = "1795335524723826176";

/// Head lines of a request.
type Head = Vec<String>;

/// Serves requests, each on a connection of its own, with what `answer` returns; keeps the heads.
fn serve(answer: impl Fn(&str, &Head) -> String + Send + 'static) -> (String, Arc<Mutex<Vec<Head>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/v1/", listener.local_addr().unwrap());
    let heads = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heads);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let Some(head) = read_request(&mut stream) else { continue };
            let path = head[0].split(' ').nth(1).unwrap().trim_start_matches("/api/v1/").to_owned();
            let text = answer(&path, &head);
            kept.lock().unwrap().push(head);
            let _ = stream.write_all(text.as_bytes());
        }
    });
    (url, heads)
}

/// Reads a request with its body; returns the lines of its head.
fn read_request(stream: &mut TcpStream) -> Option<Head> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        match line.trim_end() {
            "" => break,
            line => head.push(line.to_owned()),
        }
    }
    let length = head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    Some(head)
}

fn http(status: &str, kind: &str, body: &str) -> String {
    format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    )
}

/// The body of a captured answer.
fn capture(request: &str) -> String {
    let capture = CAPTURES.split("### ").find(|capture| capture.starts_with(request)).unwrap();
    capture.lines().find(|line| line.starts_with('{')).unwrap().to_owned()
}

#[test]
fn an_api_of_the_original_is_asked_again_and_again() {
    let sandbox = Sandbox::new();
    let (url, heads) = serve(|path, _| match path.split('?').next().unwrap() {
        "action/create/" => http("202 Accepted", "application/json", &capture("POST action/create/  (form")),
        "action" => http("200 OK", "application/json", &capture("GET action?actionid")),
        "search" if path.contains("type=command") => {
            http("200 OK", "application/json", &capture("GET search?type=command&actionid"))
        }
        "search" => http("200 OK", "application/json", &capture("GET search?type=agent\n")),
        _ => http("404 Not Found", "text/plain; charset=utf-8", "404 page not found\n"),
    });
    let laptop = Laptop::new(&sandbox, &url);
    let ran = laptop.find(&[], "^passwd$").code(0).says("the target selects 1 agent").says("1 of 1 agents found");
    assert!(
        ran.stdout().starts_with("vm /etc/passwd [lastmodified:2026-11-22 08:07:42.973345879 +0000 UTC"),
        "{}",
        ran.stdout()
    );
    let ran = laptop.run(&["results", ACTION, "-k", "key", "--format", "csv"]).code(0);
    assert!(ran.stdout().contains("vm,1795335524723826176,"), "{}", ran.stdout());
    let signed = |head: &Head| head.iter().any(|line| line.to_lowercase().starts_with("x-pgpauthorization: 1;20"));
    assert!(heads.lock().unwrap().iter().all(signed), "each request has a signed token: {heads:?}");
}

#[test]
fn a_lost_stream_is_resumed_after_the_last_answer() {
    let sandbox = Sandbox::new();
    let command = |id: u64, agent: &str| {
        let entry =
            format!(r#"{{"file":"/{agent}","fileinfo":{{"size":1}},"search":{{"options":{{"matchall":true}}}}}}"#);
        format!(
            "event: command\nid: at-{id}\ndata: {{\"id\":{id},\"agent\":{{\"name\":\"{agent}\"}},\"status\":\"success\",\"results\":\
            [{{\"foundanything\":true,\"success\":true,\"elements\":{{\"s1\":[{entry}]}}}}]}}\n\n"
        )
    };
    let counters = "event: counters\ndata: {\"counters\":{\"sent\":2,\"done\":2},\"waiting\":{\"online\":0}}\n\n";
    let (url, heads) = serve(move |path, head| match path.split('?').next().unwrap() {
        "action/events" => {
            let is_again = head.iter().any(|line| line.eq_ignore_ascii_case("last-event-id: at-1"));
            let body = match is_again {
                // The first one comes again, as it may.
                true => command(1, "one") + &command(2, "two") + counters + "event: end\ndata: {}\n\n",
                false => command(1, "one") + "event: command\ndata: {\"id",
            };
            format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n{body}")
        }
        "action" => http("200 OK", "application/json", &capture("GET action?actionid")),
        _ => http("404 Not Found", "text/plain; charset=utf-8", "404 page not found\n"),
    });
    let mut follow = Laptop::new(&sandbox, &url).command(&["action", ACTION, "--follow", "-k", "key"]);
    let output = follow.output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(
        stdout.lines().map(|line| line.split(' ').next().unwrap()).collect::<Vec<_>>(),
        ["one", "two"],
        "{output:?}"
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("trying again"), "{output:?}");
    assert_eq!(output.status.code(), Some(0), "{heads:?}");
}

/// Runs a line of `mig` on a terminal, types `typed` when it shows `prompt`, and returns what it shows, and the exit code.
fn on_terminal(laptop: &Laptop, arguments: &[&str], prompt: &str, typed: &str) -> (String, Option<i32>) {
    let quoted = |word: &&str| format!("'{}'", word.replace('\'', "'\\''"));
    let line = std::iter::once(&env!("CARGO_BIN_EXE_mig")).chain(arguments).map(quoted).collect::<Vec<_>>().join(" ");
    let like = laptop.command(&[]);
    let mut command = Command::new("script");
    command.args(["-q", "-e", "-c", &format!("exec {line}"), "/dev/null"]).env_clear();
    command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("TERM", "xterm");
    command.current_dir(like.get_current_dir().unwrap()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut keyboard, mut screen) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut shown, mut part, mut is_typed) = (Vec::new(), [0; 4096], false);
    loop {
        let count = screen.read(&mut part).unwrap();
        if count == 0 {
            break;
        }
        shown.extend_from_slice(&part[..count]);
        // The keyboard stays open: at its end `script` would type an end of file.
        if !is_typed && String::from_utf8_lossy(&shown).contains(prompt) {
            is_typed = true;
            keyboard.write_all(typed.as_bytes()).unwrap();
        }
    }
    (String::from_utf8_lossy(&shown).into_owned(), child.wait().unwrap().code())
}

#[test]
fn a_person_on_a_terminal_is_asked_and_sees_progress() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let api = sandbox.start_api();
    let laptop = Laptop::new(&sandbox, &api.url);
    let tree = sandbox.path("tree").display().to_string();
    let find = |options: &[&'static str]| -> Vec<String> {
        let words = [&["file", "-k", "key"], options, &["-path", &tree, "-name", "^needle$"]].concat();
        words.into_iter().map(str::to_owned).collect()
    };
    let run = |words: Vec<String>, prompt, typed| {
        on_terminal(&laptop, &words.iter().map(String::as_str).collect::<Vec<_>>(), prompt, typed)
    };
    let (shown, code) = run(find(&[]), "[y/N]", "n\n");
    assert!(shown.contains("not launched") && code == Some(1), "{code:?}: {shown}");
    assert!(sandbox.names("action/new").is_empty());
    // No scheduler runs, so it waits until the action expires, or for the terminal's interrupt character.
    let (shown, code) = run(find(&["-e", "2s"]), "[y/N]", "y\n");
    assert!(shown.contains("waiting for the scheduler") && code == Some(75), "{code:?}: {shown}");
    let (shown, code) = run(find(&["--yes"]), "waiting for the scheduler", "\u{3}");
    assert!(!shown.contains("[y/N]") && code == Some(75), "{code:?}: {shown}");
    assert!(shown.contains("stopped by Ctrl-C") && shown.contains("mig results "), "{shown}");
}

#[test]
fn help_is_there_for_every_verb() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox, "http://127.0.0.1:1");
    let overview = laptop.run(&["help"]).code(0).stdout();
    let verbs = overview.split("Verbs:\n").nth(1).unwrap().split("\n\n").next().unwrap().to_owned();
    let verbs: Vec<&str> = verbs.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(verbs.len(), 11, "{overview}");
    for verb in verbs {
        let help = laptop.run(&["help", verb]).code(0).stdout();
        assert!(help.contains("Usage: mig ") && help.contains("Exit codes: 0 "), "{help}");
        assert_eq!(laptop.run(&[verb, "--help"]).code(0).stdout(), help);
    }
    laptop.run(&["help", "file"]).code(0);
    laptop.run(&["nonsense"]).code(64).says("neither a module nor a verb");
    laptop.run(&[]).code(64);
}

#[test]
fn a_module_runs_here_without_api_and_key() {
    let sandbox = Sandbox::new();
    let laptop = Laptop::new(&sandbox, "http://127.0.0.1:1");
    let tree = sandbox.path("tree").display().to_string();
    let find = |name| ["file", "-t", "local", "--exit-status", "-path", &tree, "-name", name].map(str::to_owned);
    let run = |words: [String; 8]| laptop.run(&words.each_ref().map(String::as_str));
    assert!(run(find("^needle$")).code(0).stdout().contains("/needle ["));
    run(find("^nothing$")).code(1);
    for (module, option) in [("netstat", "-ci"), ("connected", "-ip")] {
        let nothing = laptop.run(&[module, "--show=all", "-t", "local", option, "203.0.113.7"]).code(0).stdout();
        assert!(nothing.contains(&format!("did not find anything for {module}")), "{nothing}");
    }
    laptop.run(&["ping", "-t", "local", "-d", "127.0.0.1", "-dp", "443"]).code(64).says("icmp has no ports");
    laptop.run(&["-i", "action.json", "-t", "local"]).code(64).says("mig-agent -i ACTION");
}

#[test]
fn completion_of_every_program_loads_in_bash() {
    let programs = [
        env!("CARGO_BIN_EXE_mig"),
        env!("CARGO_BIN_EXE_mig-api"),
        env!("CARGO_BIN_EXE_mig-agent"),
        env!("CARGO_BIN_EXE_mig-scheduler"),
        env!("CARGO_BIN_EXE_mig-action-generator"),
        env!("CARGO_BIN_EXE_mig-action-verifier"),
    ];
    let generate = |program: &str, kind: &str| {
        let output = Command::new(program).args(["--generate", kind]).output().unwrap();
        assert!(output.status.success() && !output.stdout.is_empty(), "{program} {kind}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let complete = |script: &str, function: &str, words: &str| {
        let line = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD=$(({} - 1)); {function}; printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            words.split(' ').count()
        );
        let output = Command::new("bash").args(["--norc", "-c", &line]).output().unwrap();
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    for program in programs {
        let name = program.rsplit('/').next().unwrap();
        let script = generate(program, "bash");
        let reply = complete(&script, &format!("_{}", name.replace('-', "_")), &format!("{name} --he"));
        assert_eq!(reply, "--help\n", "{name}");
        assert!(generate(program, "man").starts_with(".TH MIG"));
        assert!(generate(program, "zsh").starts_with("#compdef mig"));
        assert!(generate(program, "fish").contains("complete -c mig"));
    }
    let script = generate(programs[0], "bash");
    assert_eq!(complete(&script, "_mig", "mig sta"), "status\n");
    assert_eq!(complete(&script, "_mig", "mig results 12 --format js"), "json\njsonl\n");
    assert_eq!(complete(&script, "_mig", "mig file --show notf"), "notfound\n");
}
