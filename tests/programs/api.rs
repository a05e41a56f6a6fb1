//! The REST API over the embedded store, through the real programs.

use crate::common::api::{Answer, token};
use crate::common::{Sandbox, text};
use mig::signature;
use mig::time;
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

#[test]
fn an_action_is_launched_followed_and_read() {
    let sandbox = Sandbox::new();
    sandbox.register(2);
    let api = sandbox.start_api();
    let action = sandbox.sign(sandbox.draft("over http"));
    let created = api.post("action/create/", &[("action", &action.to_string())]);
    assert_eq!(created.status, 202, "{created:?}");
    let (name, value) = created.values().remove(0);
    let id = value["id"].as_u64().unwrap();
    assert_eq!((name, &value["status"]), (format!("action ID {id}"), &json!("pending")));
    assert_eq!(sandbox.names("action/new"), [format!("{id}.json")], "durable before it was answered");
    assert_eq!(api.get(&format!("action?actionid={id}")).status, 404, "no scheduler has begun it yet");

    let _scheduler = sandbox.start_scheduler();
    let agents = [sandbox.start_agent(1), sandbox.start_agent(2)];
    let found = api.events(id, None);
    drop(agents);
    let of = |name: &str| found.iter().filter(|(found, ..)| found == name).map(|(.., data)| data).collect::<Vec<_>>();
    let commands = of("command");
    assert_eq!(commands.len(), 2, "{found:?}");
    for command in &commands {
        assert_eq!(command["status"], "success");
        assert!(command.get("action").is_none() && command["agent"]["name"].is_string());
        assert_eq!(command["results"][0]["elements"]["s1"][0]["file"].as_str(), sandbox.path("tree/needle").to_str());
    }
    let mut last = 0;
    for counters in of("counters") {
        let number = |of: &Value, name: &str| of[name].as_u64().unwrap_or(0);
        let waiting: u64 =
            ["prepared", "online", "idle", "offline"].map(|name| number(&counters["waiting"], name)).iter().sum();
        let done = number(&counters["counters"], "done");
        assert_eq!(number(&counters["counters"], "sent"), done + waiting, "{counters}");
        assert!(done >= last, "counters go back: {found:?}");
        last = done;
    }
    assert_eq!(of("end"), [&json!({"status": "completed"})]);

    // Who resumes hears of what was not heard of; who comes with another server's place, of everything.
    let place = found.iter().find_map(|(_, id, _)| id.clone()).unwrap();
    let again = |last| api.events(id, last).into_iter().filter(|(name, ..)| name == "command").count();
    assert_eq!((again(Some(&place)), again(None), again(Some("1-2"))), (1, 2, 2));

    let shown = api.get(&format!("action?actionid={id}"));
    let shown = &shown.json()["collection"]["items"][0];
    assert_eq!(shown["data"][0]["value"]["counters"]["success"], 2);
    assert_eq!(shown["data"][0]["value"]["investigators"][0]["name"], "Test");
    let link = shown["links"][0]["href"].as_str().unwrap();
    let command = link.rsplit_once('/').unwrap().1;
    let command = api.get(command).named("command").remove(0);
    assert_eq!((&command["action"]["id"], &command["status"]), (&json!(id), &json!("success")));
    let found = api.get(&format!("search?type=command&actionid={id}&foundanything=true"));
    assert_eq!(found.named("command").len(), 2);
    assert_eq!(found.named("search parameters")[0]["total"], 2);
}

#[test]
fn what_the_scheduler_would_refuse_is_refused_in_its_words() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let api = sandbox.start_api();
    let draft = sandbox.draft("refused");
    let with = |field: &str, value: Value| {
        let mut draft = draft.clone();
        draft[field] = value;
        sandbox.sign(draft)
    };
    let expired = {
        let ago = |seconds| time::before(time::now(), Duration::from_secs(seconds));
        sandbox.sign_window(draft.clone(), ago(100), ago(50))
    };
    let mut changed = sandbox.sign(draft.clone());
    changed["name"] = "changed".into();
    let stranger = Sandbox::new();
    for (action, message) in [
        ("{".to_owned(), "parameter 'action': "),
        (draft.to_string(), "parameter 'action': field 'validfrom': is missing"),
        (expired.to_string(), "parameter 'action': field 'expireafter': the action expired at"),
        (changed.to_string(), "covers another text"),
        (stranger.sign(draft.clone()).to_string(), "parameter 'action': pgpsignatures[0] "),
        (with("target", "name = 'none'".into()).to_string(), "field 'target': it selects no agent"),
        (with("target", "name = ; drop".into()).to_string(), "parameter 'action': field 'target': "),
        (with("description", json!({"author": 1})).to_string(), "field 'description.author': is not a string"),
    ] {
        let answer = api.post("action/create/", &[("action", &action)]);
        assert_eq!(answer.status, 400, "{answer:?}");
        assert!(answer.message().contains(message), "{message}: {}", answer.message());
    }
    assert!(sandbox.names("action/new").is_empty());
}

#[test]
fn it_is_known_who_asks() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let alone = sandbox.start_api_with("");
    let refused = alone.get("dashboard");
    assert_eq!(
        (refused.status, refused.message().contains("belongs to no active investigator")),
        (401, true),
        "{refused:?}"
    );
    drop(alone);
    let log = std::fs::read_to_string(sandbox.path("api.log")).unwrap();
    assert!(log.contains("mig-api --add-investigator NAME FILE"), "{log}");

    let api = sandbox.start_api();
    assert_eq!(api.get("dashboard").status, 200);
    assert_eq!(api.get_with("heartbeat", &[]).values(), [("heartbeat".to_owned(), json!("gatorz say hi"))]);
    assert_eq!(api.get_with("ip", &[("X-Forwarded-For", "192.0.2.1")]).body, "127.0.0.1");
    let good = api.token();
    let parts: Vec<&str> = good.split(';').collect();
    let (key, now) = (&sandbox.keys.1, time::now());
    let hour = Duration::from_secs(3600);
    let other = signature::generate_key("Other <o@example.net>").unwrap();
    for (header, message) in [
        (String::new(), "is not 1;TIME;NONCE;SIGNATURE"),
        ("1;2;3".to_owned(), "is not 1;TIME;NONCE;SIGNATURE"),
        (good.replacen('1', "2", 1), "its version is not 1"),
        (format!("1;yesterday;n;{}", parts[3]), "its time is not one such as"),
        (format!("1;{};;{}", parts[1], parts[3]), "its nonce is empty or too long"),
        (format!("1;{};other;{}", parts[1], parts[3]), "covers another text"),
        (token(key, time::before(now, hour), "n"), "from the server's"),
        (token(key, time::after(now, hour), "n"), "from the server's"),
        (token(&other.1, now, "n"), "belongs to no active investigator"),
        (format!("1;{};n;{}", parts[1], "A".repeat(20_000)), "its signature is too long"),
    ] {
        let answer = api.get_with("dashboard", &[("X-PGPAUTHORIZATION", &header)]);
        assert_eq!(answer.status, 401, "{header}: {answer:?}");
        assert!(answer.message().contains(message), "{message}: {}", answer.message());
        assert_eq!(answer.json()["collection"]["error"]["code"].as_str(), answer.header("x-request-id"));
    }
    let missing = api.get_with("dashboard", &[]);
    assert_eq!(missing.message(), "header X-PGPAUTHORIZATION: not found; sign a token, or send that of a session");
    assert_eq!(
        api.get_with("dashboard", &[("X-PGPAUTHORIZATION", &good)]).status,
        200,
        "clients of the original use it again"
    );
    assert_eq!(api.get_with("dashboard", &[("X-PGPAUTHORIZATION", &good)]).status, 200);
}

#[test]
fn sessions_are_bought_used_and_revoked() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    sandbox.add_investigator();
    let api = sandbox.start_api_with("[authentication]\ntokenreuse = off\n");
    let signed = api.token();
    let header = [("X-PGPAUTHORIZATION", signed.as_str())];
    let bought = api.post_with("session/create/", &[], &header);
    assert_eq!(bought.status, 201, "{bought:?}");
    let session = bought.named("session").remove(0);
    assert_eq!(session["investigator"]["name"], "Test");
    let replayed = api.post_with("session/create/", &[], &header);
    assert_eq!((replayed.status, replayed.message().contains("was used before")), (401, true));
    let bearer = format!("Bearer {}", session["token"].as_str().unwrap());
    let with = [("Authorization", bearer.as_str())];
    assert_eq!(api.get_with("dashboard", &with).status, 200);
    assert_eq!(api.post_with("session/create/", &[], &with).status, 401, "a session buys no other");
    let store = std::fs::read(sandbox.path("mig.db")).unwrap();
    let log = std::fs::read(sandbox.path("mig.db-wal")).unwrap_or_default();
    let token = session["token"].as_str().unwrap().as_bytes();
    let holds = |bytes: &[u8]| bytes.windows(token.len()).any(|window| window == token);
    assert!(!holds(&store) && !holds(&log), "only a hash is stored");
    assert_eq!(api.post_with("session/revoke/", &[], &with).status, 200);
    let ended = api.get_with("dashboard", &with);
    assert_eq!((ended.status, ended.message().contains("the session has ended")), (401, true));
    assert_eq!(api.get_with("dashboard", &[("Authorization", "Basic eDp5")]).status, 401);
}

#[test]
fn investigators_are_added_and_disabled_at_once() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let api = sandbox.start_api();
    let second = signature::generate_key("Second <s@example.net>").unwrap();
    let added = api.post("investigator/create/", &[("name", "Second"), ("publickey", &second.0)]);
    assert_eq!(added.status, 201, "{added:?}");
    let id = added.named("investigator")[0]["id"].as_u64().unwrap().to_string();
    let again = api.post("investigator/create/", &[("name", "Second"), ("publickey", &second.0)]);
    assert_eq!((again.status, again.message().contains(&id)), (409, true), "{again:?}");
    let with_secret = api.post("investigator/create/", &[("name", "x"), ("publickey", "-----BEGIN")]);
    assert_eq!(with_secret.status, 400);
    assert!(with_secret.message().starts_with("parameter 'publickey': "), "{}", with_secret.message());
    let as_second = || token(&second.1, time::now(), "n");
    let get = |path: &str, token: &str| api.get_with(path, &[("X-PGPAUTHORIZATION", token)]);
    assert_eq!(get("dashboard", &as_second()).status, 200);
    let bought = api.post_with("session/create/", &[], &[("X-PGPAUTHORIZATION", &as_second())]);
    let bearer = format!("Bearer {}", bought.named("session")[0]["token"].as_str().unwrap());
    assert_eq!(api.get_with("dashboard", &[("Authorization", &bearer)]).status, 200);

    let update = |status: &str| api.post("investigator/update/", &[("id", &id), ("status", status)]).status;
    assert_eq!(update("disabled"), 200);
    let again = api.post("investigator/create/", &[("name", "Second"), ("publickey", &second.0)]);
    assert!(again.message().contains(&format!("who is disabled; mig investigator enable {id} has")), "{again:?}");
    std::fs::write(sandbox.path("second.pub"), &second.0).unwrap();
    let again = sandbox.api(&["--add-investigator", "Second", sandbox.path("second.pub").to_str().unwrap()]);
    assert_eq!((again.status.code(), text(&again).contains("who is disabled")), (Some(65), true), "{}", text(&again));
    let secret = api.post("investigator/create/", &[("name", "x"), ("publickey", &second.1)]);
    assert!(secret.message().contains("is a secret key"), "{secret:?}");
    assert_eq!(get("dashboard", &as_second()).status, 401);
    assert_eq!(api.get_with("dashboard", &[("Authorization", &bearer)]).status, 401);
    assert_eq!(update("active"), 200);
    assert_eq!(get("dashboard", &as_second()).status, 200);
    assert_eq!(update("retired"), 400);
    assert_eq!(api.post("investigator/update/", &[("id", "99999"), ("status", "active")]).status, 404);
    let mine = api.get("search?type=investigator&investigatorname=test").named("investigator").remove(0);
    let own = mine["id"].as_u64().unwrap().to_string();
    assert_eq!(api.post("investigator/update/", &[("id", &own), ("status", "disabled")]).status, 400);
    // As programs of the original send it: the key as a file.
    let third = signature::generate_key("Third <t@example.net>").unwrap().0;
    let body = format!(
        "--b\r\nContent-Disposition: form-data; name=\"name\"\r\n\r\nThird\r\n--b\r\nContent-Disposition: form-data; \
        name=\"publickey\"; filename=\"pubkey\"\r\nContent-Type: application/octet-stream\r\n\r\n{third}\r\n--b--\r\n"
    );
    let request = crate::common::api::client().post(format!("{}investigator/create/", api.url));
    let request = request.header("X-PGPAUTHORIZATION", api.token());
    let sent = request.header("Content-Type", "multipart/form-data; boundary=b").send(body.as_str()).unwrap();
    assert_eq!(sent.status(), 201);
}

/// A raw request; what comes back until the server closes.
fn raw(port: u16, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(crate::common::PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn each_wrong_parameter_is_named() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let api = sandbox.start_api();
    for (path, status, message) in [
        ("action", 400, "parameter 'actionid': is missing: the action"),
        ("action?actionid=abc", 400, "parameter 'actionid': 'abc' is not an id"),
        ("action?actionid=0", 400, "parameter 'actionid': '0' is not an id"),
        ("action?actionid=..%2f..%2fetc%2fpasswd", 400, "parameter 'actionid': '../../etc/passwd' is not an id"),
        ("action?actionid=12", 404, "Action ID '12' not found"),
        ("action/events?actionid=12", 404, "Action ID '12' not found"),
        ("command?commandid=99999999999999999999", 400, "parameter 'commandid': "),
        ("command?commandid=7", 404, "Command ID '7' not found"),
        ("agent?agentid=-1", 400, "parameter 'agentid': '-1' is not an id"),
        ("agent?agentid=%2B1", 400, "parameter 'agentid': '+1' is not an id"),
        ("investigator?investigatorid=1%00", 400, "parameter 'investigatorid': "),
        ("search?type=foo", 400, "parameter 'type': 'foo' is not one of action, command, agent, investigator"),
        ("search?lmit=1", 400, "parameter 'lmit': is unknown; known are: type, "),
        ("search?limit=1&limit=2", 400, "parameter 'limit': is there twice"),
        ("search?limit=-1", 400, "parameter 'limit': '-1' is not a whole number from 0 to 10000000"),
        ("search?after=yesterday", 400, "parameter 'after': 'yesterday' is not a time"),
        ("search?foundanything=yes", 400, "parameter 'foundanything': 'yes' is not true or false"),
        ("search?foundanything=true", 400, "parameter 'foundanything': applies to type=command only"),
        ("search?target=all", 400, "parameter 'target': applies to type=agent only"),
        ("search?type=agent&target=all&status=idle", 400, "parameter 'status': cannot be combined with target"),
        ("search?type=agent&target=name%20%3D%20;", 400, "parameter 'target': "),
        ("search?type=agent&target=queueloc::int%3D1", 400, "parameter 'target': it cannot be evaluated"),
        ("search?actionname=a%5C", 400, "parameter 'actionname': 'a\\\\' is not a pattern"),
        ("search?status=%00", 400, "parameter 'status': "),
        ("nothing", 404, "there is nothing here"),
        ("../../etc/passwd", 404, "there is nothing here"),
    ] {
        let answer = api.get(path);
        assert_eq!(answer.status, status, "{path}: {answer:?}");
        assert!(answer.message().starts_with(message), "{path}: {}", answer.message());
    }
    assert_eq!(api.post("search", &[]).message(), "the method is none of GET");
    assert_eq!(api.post("search", &[]).status, 405);
    let huge = "x".repeat(5 << 20);
    let answer = api.post("action/create/", &[("action", &huge)]);
    assert_eq!(answer.status, 413, "{}", answer.message());
    let large = "x".repeat(2 << 20);
    assert_eq!(
        api.post("action/create/", &[("action", &large)]).message(),
        "parameter 'action': has 2097152 bytes, the limit is 1048576"
    );
}

#[test]
fn hostile_connections_do_not_hold_up_others() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let api = sandbox.start_api();
    // Each is held open while the others are served.
    let connect = || TcpStream::connect(("127.0.0.1", api.port)).unwrap();
    let mut held: Vec<TcpStream> = (0..900).map(|_| connect()).collect();
    for stream in &mut held {
        stream.write_all(b"GET /api/v1/heartbeat HTTP/1.1\r\nHost: x\r\nX-Slow: ").unwrap();
    }
    assert_eq!(api.get("dashboard").status, 200);
    let mut slow = held.pop().unwrap();
    slow.set_read_timeout(Some(crate::common::PATIENCE)).unwrap();
    let mut answer = Vec::new();
    let _ = slow.read_to_end(&mut answer);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "slow headers: {answer}");
    let lies = b"POST /api/v1/action/create/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
    assert!(!raw(api.port, lies).contains(" 500 "), "a request that says its length twice");
    assert!(
        raw(api.port, b"\x16\x03\x01garbage\r\n\r\n").starts_with("HTTP/1.1 400") || raw(api.port, b"x").is_empty()
    );
    let header = format!("GET /api/v1/heartbeat HTTP/1.1\r\nHost: x\r\nX-Large: {}\r\n\r\n", "x".repeat(1 << 20));
    assert!(!raw(api.port, header.as_bytes()).contains(" 200 "), "headers of a mebibyte");
    assert_eq!(api.get("dashboard").status, 200);
    let log = std::fs::read_to_string(sandbox.path("api.log")).unwrap();
    assert!(!log.contains("panicked"), "{log}");
}

/// The names of fields, below each other.
fn shape(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                found.push(format!("{at}.{name}"));
                shape(value, &format!("{at}.{name}"), found);
            }
        }
        Value::Array(values) => values.iter().take(1).for_each(|value| shape(value, &format!("{at}[]"), found)),
        _ => {}
    }
}

fn fields(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    shape(value, "", &mut found);
    found.sort();
    found
}

/// The answer of the original to a request, from the captures.
fn captured(request: &str) -> Value {
    let text = include_str!("../samples/api-responses.txt");
    let body = text.split("\n### ").find(|part| part.trim_start_matches("### ").starts_with(request)).unwrap();
    serde_json::from_str(body.split_once("\n\n").unwrap().1.trim()).unwrap()
}

#[test]
fn answers_have_the_fields_of_the_originals() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let api = sandbox.start_api();
    sandbox.drop_action("look.json");
    sandbox.once("action-new,command-ready");
    sandbox.agent_once(1);
    sandbox.once("results,command-returned,periodic");
    let id = api.get("search").named("action")[0]["id"].to_string();
    let command = api.get("search?type=command").named("command")[0]["id"].to_string();
    let agent = api.get("search?type=agent").named("agent")[0]["id"].to_string();
    let investigator = api.get("search?type=investigator").named("investigator")[0]["id"].to_string();
    // What the original has and ours have not, with the reason.
    let left_out = |path: &str| {
        // The original writes an empty list of investigators nowhere, and the notes of its action are empty.
        path.contains(".parameters.") || path.contains(".tags.") || path.contains(".elements.") || path.contains("environment")
            // The search of a result is what was asked for, and another action was.
            || path.contains(".search.")
            // Within a command of a search the original repeats who signed its action; `action` says it.
            || path.contains(".action.investigators")
            // Counters of an action that is part of a command are always those of the moment when it was sent: none.
            || path.contains(".action.counters.")
    };
    for (request, answer) in [
        ("GET heartbeat", api.get("heartbeat")),
        ("GET dashboard", api.get("dashboard")),
        ("GET action?actionid=1795335524723826176", api.get(&format!("action?actionid={id}"))),
        ("GET command?commandid=1795335525519004700", api.get(&format!("command?commandid={command}"))),
        ("GET agent?agentid=1795335498291644000", api.get(&format!("agent?agentid={agent}"))),
        ("GET investigator?investigatorid=2", api.get(&format!("investigator?investigatorid={investigator}"))),
        ("GET search?type=agent", api.get("search?type=agent")),
        ("GET search?type=command&actionid", api.get(&format!("search?type=command&actionid={id}"))),
        ("GET search?type=investigator", api.get("search?type=investigator")),
        ("GET search?type=command&report=complianceitems", api.get("search?type=command&report=complianceitems")),
        ("GET action?actionid=12", api.get("action?actionid=12")),
    ] {
        let (theirs, ours) = (captured(request), answer.json());
        let ours = fields(&ours);
        let missing: Vec<_> =
            fields(&theirs).into_iter().filter(|path| !ours.contains(path) && !left_out(path)).collect();
        assert!(missing.is_empty(), "{request}: {missing:?}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{request}");
        assert_eq!(answer.header("cache-control"), Some("no-cache"), "{request}");
        let names = |value: &Value| -> Vec<Value> {
            let items = value["collection"]["items"].as_array().cloned().unwrap_or_default();
            items
                .iter()
                .flat_map(|item| item["data"].as_array().cloned().unwrap())
                .map(|datum| datum["name"].clone())
                .collect()
        };
        for name in names(&theirs) {
            assert!(names(&answer.json()).contains(&name), "{request}: {name}");
        }
    }
    let item = &api.get("search?type=command&report=complianceitems").named("compliance item")[0];
    assert_eq!(
        (&item["compliance"], &item["check"]["test"]),
        (&json!(true), &json!({"type": "file", "value": "name='^needle$'"}))
    );
    assert_eq!(item["check"]["location"].as_str(), sandbox.path("tree/needle").to_str());
}

#[test]
fn searches_are_paged_and_say_what_they_used() {
    let sandbox = Sandbox::new();
    sandbox.register(5);
    let api = sandbox.start_api();
    let ids =
        |answer: &Answer| -> Vec<u64> { answer.named("agent").iter().map(|one| one["id"].as_u64().unwrap()).collect() };
    for query in ["search?type=agent", "search?type=agent&target=all"] {
        let all = ids(&api.get(query));
        assert!(all.len() == 5 && all.is_sorted_by(|a, b| a > b), "newest first: {all:?}");
        let (mut found, mut path) = (Vec::new(), format!("{query}&limit=2"));
        let mut pages = 0;
        loop {
            let page = api.get(&path);
            found.extend(ids(&page));
            pages += 1;
            let used = page.named("search parameters").remove(0);
            assert_eq!((&used["total"], &used["totalisminimum"]), (&json!(5), &json!(false)));
            let next = page.json()["collection"]["links"][0]["href"].as_str().map(str::to_owned);
            let Some(next) = next else { break };
            path = next.split_once("/api/v1/").unwrap().1.to_owned();
        }
        assert_eq!((found, pages), (all.clone(), 3), "{query}");
        assert_eq!(ids(&api.get(&format!("{query}&limit=2&offset=3"))), all[3..]);
        assert!(ids(&api.get(&format!("{query}&limit=0"))).is_empty());
        assert!(api.get(&format!("{query}&limit=5")).json()["collection"].get("links").is_none(), "there is no more");
    }
    let used = api.get("search?agentname=x%25&limit=7").named("search parameters").remove(0);
    assert_eq!((&used["type"], &used["agentname"], &used["limit"]), (&json!("action"), &json!("x%"), &json!(7)));
    assert_eq!((&used["status"], &used["actionid"], &used["returned"]), (&json!("%"), &json!("∞"), &json!(0)));
    // The words with which clients of the original leave a filter out.
    assert_eq!(ids(&api.get("search?type=agent&agentid=%E2%88%9E&agentname=%25&status=")).len(), 5);
}

#[test]
fn it_stops_in_time_and_says_why_it_does_not_start() {
    let sandbox = Sandbox::new();
    let api = sandbox.start_api();
    let mut stream = TcpStream::connect(("127.0.0.1", api.port)).unwrap();
    stream.write_all(b"GET /api/v1/heartbeat HTTP/1.1\r\n").unwrap();
    assert_eq!(api.process.terminate(), Some(0));
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let cfg = sandbox.api_cfg(taken.local_addr().unwrap().port(), "");
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_mig-api")).args(["-c", &cfg]).output().unwrap();
    assert_eq!(output.status.code(), Some(75), "{}", text(&output));
    assert!(text(&output).contains("server.ip and server.port: listen on 127.0.0.1:"), "{}", text(&output));
    let output = sandbox.api(&["--add-investigator", "Nobody", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(66), "{}", text(&output));
    let output = sandbox.api(&["--add-investigator", "Nobody", "/etc/passwd"]);
    assert_eq!(output.status.code(), Some(65), "{}", text(&output));
}

#[test]
fn proxies_are_believed_as_far_as_they_are_trusted() {
    let sandbox = Sandbox::new();
    sandbox.add_investigator();
    let api = sandbox.start_api_with("trustedproxies = 127.0.0.0/8, 192.0.2.0/24");
    for (said, address) in [
        ("198.51.100.7", "198.51.100.7"),
        // The nearest that is not trusted is the caller, whatever it says itself.
        ("10.9.9.9, 198.51.100.7", "198.51.100.7"),
        ("198.51.100.7, 192.0.2.5", "198.51.100.7"),
        ("2001:db8::1", "2001:db8::1"),
        ("127.0.0.1, 198.51.100.7:4321", "198.51.100.7"),
        ("127.0.0.1, [2001:db8::1]:80", "2001:db8::1"),
        // Behind something that is no address, anybody may be.
        ("127.0.0.1, unknown", "0.0.0.0"),
    ] {
        assert_eq!(api.get_with("ip", &[("X-Forwarded-For", said)]).body, address, "{said}");
    }
}

#[test]
fn without_an_investigator_only_this_machine_is_answered() {
    let sandbox = Sandbox::new();
    let api = sandbox.start_api_with("trustedproxies = 127.0.0.1");
    let far = api.get_with("dashboard", &[("X-Forwarded-For", "198.51.100.7"), ("X-PGPAUTHORIZATION", &api.token())]);
    assert_eq!((far.status, far.message().contains("has no investigator yet")), (403, true), "{far:?}");
    assert_eq!(api.get("dashboard").status, 401);
    let off = sandbox.start_api_with("trustedproxies = 127.0.0.1\n[authentication]\nenabled = off\n");
    assert_eq!(off.get_with("dashboard", &[]).status, 200);
    let form = [("name", "First"), ("publickey", sandbox.keys.0.as_str())];
    let far = off.post_with("investigator/create/", &form, &[("X-Forwarded-For", "198.51.100.7")]);
    assert_eq!((far.status, far.message().contains("callers on the server's machine")), (403, true), "{far:?}");
    let other_site = [("Origin", "http://evil.example.net")];
    assert_eq!(off.post_with("investigator/create/", &form, &other_site).status, 403, "a page of another site");
    let behind = sandbox.start_api_with("[authentication]\nenabled = off\n");
    for header in ["X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"] {
        let passed_on = behind.post_with("investigator/create/", &form, &[(header, "127.0.0.1")]);
        assert_eq!(passed_on.status, 403, "{header}: it came through a proxy that is not trusted");
    }
    let reserved = off.post_with("investigator/create/", &[("name", "migscheduler"), form[1]], &[]);
    assert_eq!((reserved.status, reserved.message().contains("that of the schedulers")), (400, true), "{reserved:?}");
    assert_eq!(off.post_with("investigator/create/", &form, &[]).status, 201);
    assert_eq!(api.get("dashboard").status, 200, "the other one knows at once");
}

#[test]
fn two_investigators_launch_one_action() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let api = sandbox.start_api();
    let second = signature::generate_key("Second <s@example.net>").unwrap();
    assert_eq!(api.post("investigator/create/", &[("name", "Second"), ("publickey", &second.0)]).status, 201);
    let file = sandbox.scheduler_cfg();
    let text =
        std::fs::read_to_string(&file).unwrap().replace("[investigators]\n", "[investigators]\nminimumsigners = 2\n");
    std::fs::write(&file, text).unwrap();
    let action = sandbox.sign(sandbox.draft("by two"));
    let launch = |action: &Value| {
        let created = api.post("action/create/", &[("action", &action.to_string())]);
        assert_eq!(created.status, 202, "{created:?}");
        created.values().remove(0).1["id"].as_u64().unwrap()
    };
    let id = launch(&action);
    sandbox.once("action-new");
    assert_eq!(sandbox.names("action/pending"), [format!("{id}.json")]);
    let signed = mig::action::Action::parse(action.to_string().as_bytes()).unwrap().signed_text();
    let mut other = action.clone();
    other["pgpsignatures"] = json!([signature::sign_with_key(&signed, second.1.as_bytes(), time::now()).unwrap()]);
    assert_eq!(launch(&other), id, "the id of the one that waits is the one that stays");
    sandbox.once("action-new");
    sandbox.once("action-new,command-ready");
    sandbox.agent_once(1);
    sandbox.once("results,command-returned");
    let events = api.events(id, None);
    assert_eq!(events.last().unwrap().0, "end", "{events:?}");
    let shown = api.get(&format!("action?actionid={id}")).named("action").remove(0);
    assert_eq!(shown["investigators"].as_array().unwrap().len(), 2);
}

#[test]
fn the_stream_of_an_action_that_is_removed_or_refused_ends() {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let api = sandbox.start_api();
    let action = sandbox.sign(sandbox.draft("removed")).to_string();
    let launch = || api.post("action/create/", &[("action", &action)]).values().remove(0).1["id"].as_u64().unwrap();
    let (removed, refused) = (launch(), launch());
    let last = |id| api.events(id, None).pop().unwrap();
    std::thread::scope(|scope| {
        let following = scope.spawn(|| last(removed));
        // A stream that has begun is one that the log knows.
        let begun = |sandbox: &Sandbox| {
            let log = std::fs::read_to_string(sandbox.path("api.log")).unwrap();
            log.lines().any(|line| line.contains("GET /api/v1/action/events"))
        };
        sandbox.wait("followed", begun);
        std::fs::remove_file(sandbox.spool().join(format!("action/new/{removed}.json"))).unwrap();
        let (name, _, data) = following.join().unwrap();
        assert_eq!((name.as_str(), data["reason"].as_str().unwrap().contains("no more")), ("refused", true));
    });
    let other = sandbox.spool().join(format!("action/new/{refused}.json"));
    let text = std::fs::read_to_string(&other).unwrap().replace("\"removed\"", "\"changed\"");
    std::fs::write(&other, text).unwrap();
    sandbox.once("action-new");
    let (name, _, data) = last(refused);
    assert_eq!(name, "refused");
    assert!(data["reason"].as_str().unwrap().contains("covers another text"), "{data}");
}

#[test]
fn it_speaks_tls_with_a_certificate_of_its_own() {
    let sandbox = Sandbox::new();
    sandbox.add_investigator();
    let (certificate, key) = (sandbox.path("api.pem"), sandbox.path("api-key.pem"));
    let made = std::process::Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=IP:127.0.0.1", "-keyout"])
        .args([&key, std::path::Path::new("-out"), &certificate])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", text(&made));
    let lines = format!("tlscert = \"{}\"\ntlskey = \"{}\"", certificate.display(), key.display());
    let api = sandbox.start_api_with(&lines);
    let get = |trusted: bool| {
        let mut tls = native_tls::TlsConnector::builder();
        if trusted {
            let pem = std::fs::read(&certificate).unwrap();
            tls.add_root_certificate(native_tls::Certificate::from_pem(&pem).unwrap());
        }
        let stream = TcpStream::connect(("127.0.0.1", api.port)).unwrap();
        let mut stream = tls.build().unwrap().connect("127.0.0.1", stream).map_err(|e| e.to_string())?;
        stream.write_all(b"GET /api/v1/heartbeat HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        Ok::<_, String>(answer)
    };
    assert!(get(true).unwrap().contains("gatorz say hi"));
    assert!(get(false).is_err(), "it is not trusted by itself");
    assert!(
        !raw(api.port, b"GET /api/v1/heartbeat HTTP/1.1\r\nHost: x\r\n\r\n").contains("gatorz"),
        "not in the clear"
    );
    drop(api);
    let cfg = sandbox.api_cfg(1, &lines.replace("api-key.pem", "api.pem"));
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_mig-api")).args(["-c", &cfg]).output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", text(&output));
    assert!(text(&output).contains("server.tlskey: it and tlscert are no PEM key"), "{}", text(&output));
}
