//! The REST API over a large store: searches, requests by many callers, memory while rows are streamed.

use crate::common::api::{Api, client};
use crate::common::broker_fleet::{self, BrokerFleet};
use crate::common::servers::{self, Broker};
use crate::common::{Background, Sandbox};
use crate::report::{Goal, Row};
use mig::store::postgres::PostgresStore;
use std::io::Read;
use std::process::Command;
use std::time::{Duration, Instant};

const RUNS: usize = 3;
/// Requests for each search and run.
const REQUESTS: usize = 20;
const CALLERS: usize = 8;

/// 100,000 agents, 100 actions and 1,000,000 commands, in the words of both databases: `{n}` rows numbered `n`, a time `{at}`.
fn fill(series: impl Fn(&str, u64) -> String, at: &str, json: &str) -> Vec<String> {
    let signature = include_str!("../samples/action-signed-by-one.json");
    let operations = &serde_json::from_str::<serde_json::Value>(signature).unwrap()["operations"].to_string();
    let results = r#"[{"foundanything":true,"success":true,"elements":{"s":[{"file":"/etc/passwd"}]},"statistics":{},"errors":null}]"#;
    vec![
        series(
            &format!(
                "INSERT INTO agents (id, name, queueloc, mode, version, pid, starttime, destructiontime, heartbeattime, status, \
                environment, tags) SELECT n, 'host' || n, 'linux.host' || n || '.x', 'daemon', '1', n, {at}, {at}, {at}, \
                CASE n % 3 WHEN 0 THEN 'idle' ELSE 'online' END, '{{\"os\":\"linux\"}}'{json}, '{{}}'{json} FROM series"
            ),
            100_000,
        ),
        series(
            &format!(
                "INSERT INTO actions (id, name, target, description, threat, operations, validfrom, expireafter, starttime, \
                finishtime, lastupdatetime, status, syntaxversion, pgpsignatures, owner, endsagents, counters) SELECT n, 'action ' || n, 'all', \
                '{{}}'{json}, '{{\"family\":\"test\"}}'{json}, '{operations}'{json}, {at}, {at}, {at}, {at}, {at}, 'completed', 2, \
                '[]'{json}, '', {}, '{{\"sent\":10000,\"done\":10000,\"success\":9000,\"failed\":1000}}'{json} FROM series",
                if json.is_empty() { "0" } else { "false" }
            ),
            100,
        ),
        series(
            &format!(
                "INSERT INTO commands (id, actionid, agentid, queueloc, status, results, starttime, finishtime) SELECT n, \
                1 + n % 100, 1 + (n / 100) % 100000, 'linux.host' || (1 + (n / 100) % 100000) || '.x', \
                CASE n % 10 WHEN 0 THEN 'failed' ELSE 'success' END, '{results}'{json}, {at}, {at} FROM series"
            ),
            1_000_000,
        ),
    ]
}

fn filled_sqlite() -> Sandbox {
    let sandbox = Sandbox::new();
    sandbox.once("periodic");
    let series = |sql: &str, count: u64| {
        let (insert, select) = sql.split_once("SELECT").unwrap();
        format!(
            "WITH RECURSIVE series (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM series WHERE n < {count}) {insert} SELECT {select}"
        )
    };
    let at = mig::time::now().as_microsecond().to_string();
    let connection = rusqlite::Connection::open(sandbox.path("mig.db")).unwrap();
    for sql in fill(series, &at, "") {
        connection.execute_batch(&sql).unwrap();
    }
    connection.execute_batch("ANALYZE").unwrap();
    sandbox
}

fn filled_postgres(broker: &Broker) -> Sandbox {
    let server = servers::shared("postgres");
    let database = servers::copied_database(&server);
    let mut sandbox = Sandbox::new().with_broker(broker).with_database(&servers::postgres_section(&database));
    let series = |sql: &str, count: u64| sql.replace("FROM series", &format!("FROM generate_series(1, {count}) AS n"));
    for sql in fill(series, "now()", "::json") {
        servers::psql(&server, &database.database, &sql);
    }
    servers::psql(&server, &database.database, "VACUUM ANALYZE");
    sandbox.api_sections = Some(servers::postgres_section(&servers::reach_as(&server, &database.database, "migapi")));
    sandbox
}

/// A GET with a session; how long it took.
fn timed(api: &Api, path: &str, session: &str) -> Duration {
    let agent = client();
    timed_with(&agent, api, path, session)
}

fn timed_with(agent: &ureq::Agent, api: &Api, path: &str, session: &str) -> Duration {
    let started = Instant::now();
    let response = agent.get(format!("{}{path}", api.url)).header("Authorization", session).call().unwrap();
    assert_eq!(response.status(), 200, "{path}");
    let mut sink = Vec::new();
    response.into_body().into_reader().read_to_end(&mut sink).unwrap();
    started.elapsed()
}

fn percentile(times: &mut [Duration], percent: usize) -> f64 {
    times.sort_unstable();
    times[(times.len() * percent / 100).min(times.len() - 1)].as_secs_f64() * 1000.0
}

const SEARCHES: [(&str, &str); 9] = [
    ("actions", "search?type=action&limit=100"),
    ("actions-by-name", "search?type=action&actionname=%25action+7%25&limit=100"),
    ("commands", "search?type=command&limit=100"),
    ("commands-of-action", "search?type=command&actionid=7&limit=100"),
    ("commands-failed", "search?type=command&status=failed&limit=100"),
    ("commands-found", "search?type=command&foundanything=true&limit=100"),
    ("commands-of-agent", "search?type=command&agentid=70000&limit=100"),
    ("agents", "search?type=agent&limit=100"),
    ("agents-by-target", "search?type=agent&target=name+LIKE+'host123%25'&limit=100"),
];

fn measure(sandbox: &Sandbox, store: &str) -> Vec<Row> {
    let api = sandbox.start_api();
    let session = api.post("session/create/", &[]).named("session").remove(0);
    let session = format!("Bearer {}", session["token"].as_str().unwrap());
    let mut rows = Vec::new();
    let row = |id: String, values: Vec<f64>, unit, goal| Row { id, values, unit, raw: Vec::new(), raw_is: "", goal };
    for (name, path) in SEARCHES {
        timed(&api, path, &session);
        let run = |_| percentile(&mut (0..REQUESTS).map(|_| timed(&api, path, &session)).collect::<Vec<_>>(), 95);
        rows.push(row(format!("{store}-search-{name}-p95"), (0..RUNS).map(run).collect(), "ms", Goal::AtMost(100.0)));
    }
    let before = memory(&api.process);
    timed(&api, "search?type=command&limit=100000", &session);
    let grown = memory(&api.process) - before;
    rows.push(row(format!("{store}-stream-100000-rows"), vec![grown], "MiB more", Goal::AtMost(50.0)));
    let (mut rates, mut slowest) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let started = Instant::now();
        let mut times: Vec<Duration> = std::thread::scope(|scope| {
            let caller = || {
                let agent = client();
                (0..250).map(|_| timed_with(&agent, &api, "agent?agentid=70000", &session)).collect::<Vec<_>>()
            };
            let callers: Vec<_> = (0..CALLERS).map(|_| scope.spawn(caller)).collect();
            callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
        });
        rates.push(times.len() as f64 / started.elapsed().as_secs_f64());
        slowest.push(percentile(&mut times, 99));
    }
    rows.push(row(format!("{store}-requests"), rates, "/s", Goal::AtLeast(500.0)));
    rows.push(row(format!("{store}-requests-p99"), slowest, "ms", Goal::AtMost(100.0)));
    rows
}

/// `mig file ...` from its start to its end, which is when the last row is printed.
fn ask(sandbox: &Sandbox, api: &Api, agents: usize) -> f64 {
    std::fs::write(sandbox.path("migrc"), format!("[api]\nurl = \"{}\"\n", api.url)).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_mig"));
    let tree = sandbox.path("tree");
    command
        .args(["file", "--yes", "--show", "all", "-c"])
        .arg(sandbox.path("migrc"))
        .arg("-k")
        .arg(sandbox.path("key"));
    command.arg("-path").arg(tree).args(["-name", "^needle$"]).env("HOME", sandbox.path(""));
    let started = Instant::now();
    let output = command.output().unwrap();
    let took = started.elapsed();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("{agents} of {agents} agents found")), "{said}");
    took.as_secs_f64() * 1000.0
}

/// One agent, asked through the API; and the program alone.
fn one_agent() -> Vec<Row> {
    let sandbox = Sandbox::new();
    sandbox.register(1);
    let api = sandbox.start_api();
    let _running = [sandbox.start_scheduler(), sandbox.start_agent(1)];
    ask(&sandbox, &api, 1);
    let asked = (0..5).map(|_| ask(&sandbox, &api, 1)).collect();
    let help = |_| {
        let started = Instant::now();
        assert!(Command::new(env!("CARGO_BIN_EXE_mig")).arg("help").output().unwrap().status.success());
        started.elapsed().as_secs_f64() * 1000.0
    };
    let row = |id: &str, values, goal| Row { id: id.into(), values, unit: "ms", raw: Vec::new(), raw_is: "", goal };
    vec![
        row("mig-file-one-agent", asked, Goal::AtMost(400.0)),
        row("mig-help", (0..5).map(help).collect(), Goal::AtMost(15.0)),
    ]
}

/// A thousand simulated agents over RabbitMQ and PostgreSQL.
fn a_thousand_agents() -> Vec<Row> {
    let broker = Broker::shared("classic");
    let server = servers::shared("postgres");
    let database = servers::copied_database(&server);
    let mut sandbox = Sandbox::new().with_broker(&broker).with_database(&servers::postgres_section(&database));
    let own = servers::postgres_section(&servers::reach_as(&server, &database.database, "migapi"));
    sandbox.api_sections = Some(format!("{own}{}", broker.section("api")));
    sandbox.once("heartbeats,results");
    broker_fleet::register(&mut PostgresStore::open(&database).unwrap(), 1000);
    let api = sandbox.start_api();
    let _scheduler = sandbox.start_scheduler();
    let _fleet = BrokerFleet::start(&broker.agent_url(), 1000);
    ask(&sandbox, &api, 1000);
    let values = (0..5).map(|_| ask(&sandbox, &api, 1000)).collect();
    let goal = Goal::AtMost(3000.0);
    vec![Row { id: "mig-file-1000-agents".into(), values, unit: "ms", raw: Vec::new(), raw_is: "", goal }]
}

/// The most memory that it has had.
fn memory(process: &Background) -> f64 {
    process.mebibytes("VmHWM")
}

/// Over SQLite.
pub fn sqlite() -> Vec<Row> {
    let mut rows = one_agent();
    rows.extend(measure(&filled_sqlite(), "sqlite"));
    rows
}

/// Over PostgreSQL.
pub fn postgres() -> Vec<Row> {
    let mut rows = a_thousand_agents();
    rows.extend(measure(&filled_postgres(&Broker::shared("classic")), "postgres"));
    rows
}
