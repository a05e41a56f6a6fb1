//! An SQLite database with the store's schema and six agents.

use rusqlite::functions::FunctionFlags;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Error};

use super::super::sqlite_functions::{Answer, FUNCTIONS};
use super::{NOW_US, sqlite};

const MINUTE: i64 = 60_000_000;
const NOT_SET: i64 = -62_135_596_800_000_000;
const NEVER: i64 = 253_340_133_071_000_000;

/// Agents (id, name, queueloc, mode, version, pid, minutes since heartbeat, status, environment, tags).
type Agent = (
    i64,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    i64,
    i64,
    &'static str,
    &'static str,
    Option<&'static str>,
);

const AGENTS: [Agent; 6] = [
    (
        1,
        "alpha",
        "linux.alpha.a1",
        "daemon",
        "20150310+lab",
        101,
        1,
        "online",
        r#"{"os":"linux","arch":"amd64","ident":"Ubuntu 12.04 precise","isproxied":false,"addresses":["10.0.0.1/8","fe80::1/64"],"publicip":"192.0.2.1"}"#,
        Some(r#"{"floor":"3","operator":"IT","rack":{"row":7,"0":"zero"}}"#),
    ),
    (
        2,
        "beta",
        "linux.beta.b2",
        "checkin",
        "20150310+lab",
        202,
        30,
        "idle",
        r#"{"os":"linux","arch":"386","ident":"Red Hat 6.5","isproxied":true,"proxy":"p:3128","addresses":[]}"#,
        Some("{}"),
    ),
    (
        3,
        "gamma",
        "windows.gamma.c3",
        "",
        "20150122",
        303,
        2,
        "online",
        r#"{"os":"windows","arch":"amd64","ident":"Microsoft Windows Server 2012","isproxied":false,"addresses":["10.0.0.3/8"]}"#,
        Some(r#"{"floor":"-1","installed":"2015-03-01T10:00:00Z","active":"yes"}"#),
    ),
    (
        4,
        "delta",
        "darwin.delta.d4",
        "daemon",
        "20140101",
        404,
        60 * 24 * 3,
        "offline",
        r#"{"os":"darwin","arch":"amd64","ident":"Mac OS X 10.10","init":null,"isproxied":false}"#,
        None,
    ),
    (
        5,
        "epsilon",
        "linux.epsilon.e5",
        "daemon",
        "20150310+lab",
        505,
        4,
        "online",
        r#"{"os":"linux","arch":"amd64","ident":"Amazon Linux AMI 2014.09","isproxied":true,"addresses":["10.0.0.5/8"]}"#,
        Some(r#"{"floor":"12","note":"50%_off\\sale","operator":"MozDef"}"#),
    ),
    (
        6,
        "O'Brien ÄÖ",
        "linux.obrien.f6",
        "daemon",
        "20150310+lab",
        606,
        60 * 24 * 10,
        "upgraded",
        r#"{"os":"linux","arch":"arm","ident":"CentOS 6.6\nFinal","isproxied":false}"#,
        Some(r#"{"floor":"0"}"#),
    ),
];

/// Commands (id, actionid, agentid, status, results, minutes since start).
type Command = (i64, i64, i64, &'static str, Option<&'static str>, i64);

const COMMANDS: [Command; 6] = [
    (
        11,
        1,
        1,
        "success",
        Some(r#"[{"foundanything":false,"success":true},{"foundanything":true,"success":true}]"#),
        50,
    ),
    (12, 1, 2, "success", Some(r#"[{"foundanything":false,"success":true}]"#), 50),
    (13, 1, 3, "failed", Some(r#"[{"foundanything":false,"success":false,"errors":["boom"]}]"#), 49),
    (14, 2, 1, "sent", None, 5),
    (15, 2, 5, "timeout", Some("null"), 5),
    (16, 2, 6, "expired", Some(r#"["text",7,null,[1,2]]"#), 4),
];

/// Returns the names of the agents that a target selects, in order of id, without `O'Brien`'s umlauts.
pub(super) fn select(target: &str) -> Result<String, Error> {
    let condition = sqlite(target);
    let database = open();
    let sql = format!("SELECT name FROM agents WHERE {condition} ORDER BY id");
    let mut statement = database.prepare(&sql)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let names: Vec<String> = names.collect::<Result<_, _>>()?;
    Ok(names.join(" ").replace("O'Brien ÄÖ", "obrien"))
}

fn open() -> Connection {
    let database = Connection::open_in_memory().unwrap();
    database
        .execute_batch(
            "CREATE TABLE agents (id INTEGER PRIMARY KEY, name TEXT, queueloc TEXT, mode TEXT, version TEXT, pid INTEGER,
                 starttime INTEGER, destructiontime INTEGER, heartbeattime INTEGER, status TEXT, environment TEXT, tags TEXT);
             CREATE TABLE commands (id INTEGER PRIMARY KEY, actionid INTEGER, agentid INTEGER, status TEXT, results TEXT,
                 starttime INTEGER, finishtime INTEGER);
             CREATE TABLE actions (id INTEGER PRIMARY KEY, name TEXT, target TEXT, description TEXT, threat TEXT,
                 operations TEXT, validfrom INTEGER, expireafter INTEGER, starttime INTEGER, finishtime INTEGER,
                 lastupdatetime INTEGER, status TEXT, syntaxversion INTEGER, pgpsignatures TEXT);",
        )
        .unwrap();
    for (id, name, queueloc, mode, version, pid, minutes, status, environment, tags) in AGENTS {
        let heartbeat = NOW_US - minutes * MINUTE;
        let start = if id == 4 { NOT_SET } else { heartbeat - 60 * MINUTE };
        database
            .execute(
                "INSERT INTO agents VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (id, name, queueloc, mode, version, pid, start, NEVER, heartbeat, status, environment, tags),
            )
            .unwrap();
    }
    for (id, action, agent, status, results, minutes) in COMMANDS {
        let row = (id, action, agent, status, results, NOW_US - minutes * MINUTE, NEVER);
        database.execute("INSERT INTO commands VALUES (?, ?, ?, ?, ?, ?, ?)", row).unwrap();
    }
    for (id, name, operations) in
        [(1, "shellshock", r#"[{"module":"file"}]"#), (2, "upgrade", r#"[{"module":"upgrade"}]"#)]
    {
        let row = (id, name, operations, NOW_US - 60 * MINUTE, NOW_US + 60 * MINUTE);
        let sql = "INSERT INTO actions VALUES (?1, ?2, 'all', '{}', '{\"level\":\"low\"}', ?3, ?4, ?5, ?4, ?5, ?4, 'inflight', 2, '[]')";
        database.execute(sql, row).unwrap();
    }
    register(&database);
    database
}

/// Registers the functions as the store does.
fn register(database: &Connection) {
    for function in FUNCTIONS {
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
        let arguments = i32::try_from(function.arguments).unwrap();
        let call = function.call;
        database
            .create_scalar_function(function.name, arguments, flags, move |context| {
                let mut texts = Vec::new();
                for place in 0..context.len() {
                    match context.get_raw(place) {
                        ValueRef::Null => return Ok(Value::Null),
                        argument => texts.push(argument.as_str()?),
                    }
                }
                match call(&texts) {
                    Ok(Answer::Integer(number)) => Ok(Value::Integer(number)),
                    Ok(Answer::Real(number)) => Ok(Value::Real(number)),
                    Err(message) => Err(Error::UserFunctionError(message.into())),
                }
            })
            .unwrap();
    }
}
