//! The private servers of `scripts/servers.sh`: one shared pair for most tests, servers of their own for those that end
//! them.

use mig::config::Secret;
use mig::config::broker::{BrokerConfig, QueueType, TlsConfig};
use mig::config::database::{PostgresConfig, SslMode};
use mig::relay::amqp::{AmqpRelay, Role};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// How long a test waits for something that takes milliseconds on a quiet machine: other programs may be at work too.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// Where `scripts/servers.sh run` keeps the shared pair.
pub fn shared(server: &str) -> PathBuf {
    let directory = std::env::var_os("MIG_TEST_SERVERS")
        .expect("this test needs PostgreSQL and RabbitMQ: scripts/servers.sh run cargo test ...");
    Path::new(&directory).join(server)
}

/// The port in one of the files that the script keeps in a server's directory.
pub fn port(directory: &Path, file: &str) -> u16 {
    let path = directory.join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    text.trim().parse().unwrap()
}

/// A name that no other test of this run uses.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Makes something that several tests use in a server's directory, each of them a process perhaps: once.
pub fn once(server: &Path, name: &str, make: impl FnOnce()) {
    let mut made = OpenOptions::new().create(true).append(true).open(server.join(name)).unwrap();
    made.lock().unwrap();
    if made.metadata().unwrap().len() == 0 {
        make();
        made.write_all(b"made\n").unwrap();
    }
}

/// Runs one of the project's scripts; returns what it printed.
pub fn script(name: &str, arguments: &[&str]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts").join(name);
    let output = Command::new(&path).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{name} {arguments:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// `rabbitmqctl` of the broker in `directory`, as a line for scripts that run it.
pub fn rabbitmqctl_line(directory: &Path) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/servers.sh");
    format!("'{}' rabbitmq ctl '{}'", script.display(), directory.display())
}

/// `rabbitmqctl` of the broker in `directory`; returns what it printed.
pub fn rabbitmqctl(directory: &Path, arguments: &[&str]) -> String {
    script("servers.sh", &[&["rabbitmq", "ctl", directory.to_str().unwrap()], arguments].concat())
}

/// Runs openssl(1) there; the arguments have no spaces.
pub fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A relay at this address, with classic queues.
pub fn open_relay(url: &str, role: Role) -> AmqpRelay {
    let config = BrokerConfig::parse_url(url, TlsConfig::default(), QueueType::Classic).unwrap();
    AmqpRelay::open(&config, role).unwrap()
}

/// A server for one test, which may stop it or change what holds for a whole server. It ends with the test.
pub struct Own {
    server: &'static str,
    directory: tempfile::TempDir,
}

impl Own {
    /// Starts a broker. `extra` are lines of its configuration; the script makes of @PORT@ the port for TLS, @DIR@ becomes
    /// the broker's directory.
    pub fn broker(extra: &str) -> Own {
        Own::start("rabbitmq", extra)
    }

    /// Starts PostgreSQL, with more settings.
    pub fn postgres(settings: &str) -> Own {
        Own::start("postgres", settings)
    }

    fn start(server: &'static str, extra: &str) -> Own {
        let directory = tempfile::Builder::new().prefix(&format!("mig-{server}")).tempdir().unwrap();
        // PostgreSQL runs as another user when the test runs as root.
        std::fs::set_permissions(directory.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let extra = extra.replace("@DIR@", &directory.path().display().to_string());
        std::fs::write(directory.path().join("extra.conf"), extra).unwrap();
        let own = Own { server, directory };
        own.control("start");
        own
    }

    /// Where the server keeps its files.
    pub fn path(&self) -> &Path {
        self.directory.path()
    }

    /// `scripts/servers.sh SERVER COMMAND`: start, stop or kill.
    pub fn control(&self, command: &str) {
        script("servers.sh", &[self.server, command, self.path().to_str().unwrap()]);
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        // The broker's port mapper has to forget it.
        self.control(if self.server == "rabbitmq" { "stop" } else { "kill" });
    }
}

/// `conf/rabbitmq.conf.inc` for a private broker with the certificates in this directory.
pub fn sample_configuration(certificates: &Path) -> String {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("conf/rabbitmq.conf.inc");
    let sample = std::fs::read_to_string(sample).unwrap();
    let lines = sample.lines().filter(|line| !line.starts_with(['#']) && !line.starts_with("listeners."));
    let lines: Vec<_> = lines.collect();
    assert!(lines.iter().filter(|line| line.starts_with("ssl_options.")).count() > 10);
    let ours = lines.join("\n").replace("/etc/rabbitmq/certs", certificates.to_str().unwrap());
    format!("{ours}\nlisteners.ssl.1 = 127.0.0.1:@PORT@\n")
}

/// A vhost of a broker, with the users and permissions that `scripts/setup-rabbitmq.sh` makes.
pub struct Broker {
    /// Where the broker keeps its files.
    pub directory: PathBuf,
    /// The vhost's name.
    pub vhost: String,
    /// `classic` or `quorum`.
    pub queue_type: &'static str,
    /// What `scripts/make-certs.sh` made, when it is reached by TLS.
    pub certificates: Option<PathBuf>,
}

impl Broker {
    /// A new vhost of the shared broker.
    pub fn shared(queue_type: &'static str) -> Broker {
        Broker::at(shared("rabbitmq"), queue_type)
    }

    /// A new vhost of the broker in this directory.
    pub fn at(directory: PathBuf, queue_type: &'static str) -> Broker {
        let vhost = unique("mig");
        // Users belong to the whole broker: its vhosts share their passwords, and they are made one vhost at a time.
        let known = directory.join("passwords");
        let users = ["admin", "scheduler", "agent", "api", "worker"];
        let text = users.iter().fold(String::new(), |text, user| format!("{text}{user} {user}-of-the-tests\n"));
        // Whole at every moment: another test's setup may be reading it.
        let mut new = tempfile::NamedTempFile::new_in(&directory).unwrap();
        new.write_all(text.as_bytes()).unwrap();
        new.persist(&known).unwrap();
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts");
        let output = Command::new("flock")
            .args([directory.join("lock"), scripts.join("setup-rabbitmq.sh")])
            .args(["--vhost", &vhost, "--passwords", known.to_str().unwrap()])
            .env("RABBITMQCTL", rabbitmqctl_line(&directory))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Broker { directory, vhost, queue_type, certificates: None }
    }

    /// Reached by TLS, with these certificates.
    pub fn with_certificates(self, certificates: &Path) -> Broker {
        Broker { certificates: Some(certificates.to_owned()), ..self }
    }

    /// The port for TLS or the other, whichever is used.
    fn port(&self) -> u16 {
        port(&self.directory, if self.certificates.is_some() { "tls-port" } else { "port" })
    }

    /// `[mq]` of the scheduler.
    pub fn scheduler_section(&self) -> String {
        self.section("scheduler")
    }

    /// `[mq]` for a user.
    pub fn section(&self, user: &str) -> String {
        let tls = self.certificates_of("scheduler").map(|[ca, cert, key]| {
            format!("usetls = true\ncacert = \"{ca}\"\ntlscert = \"{cert}\"\ntlskey = \"{key}\"\n")
        });
        format!(
            "[mq]\nhost = \"127.0.0.1\"\nport = {}\nuser = \"{user}\"\npass = \"{user}-of-the-tests\"\nvhost = \"{}\"\nqueuetype = {}\n{}",
            self.port(),
            self.vhost,
            self.queue_type,
            tls.unwrap_or_default()
        )
    }

    /// `[certs]` of an agent, when it needs them.
    pub fn agent_certificates(&self) -> String {
        let section =
            |[ca, cert, key]: [String; 3]| format!("[certs]\nca = \"{ca}\"\ncert = \"{cert}\"\nkey = \"{key}\"\n");
        self.certificates_of("agent").map_or_else(String::new, section)
    }

    /// The files of the authority, and of a program's certificate and key.
    fn certificates_of(&self, program: &str) -> Option<[String; 3]> {
        let names = ["cacert.pem".to_owned(), format!("{program}-amqps.pem"), format!("{program}-amqps-key.pem")];
        self.certificates.as_ref().map(|directory| names.map(|name| directory.join(name).display().to_string()))
    }

    /// The address for a user.
    pub fn url(&self, user: &str) -> String {
        let scheme = if self.certificates.is_some() { "amqps" } else { "amqp" };
        format!("{scheme}://{user}:{user}-of-the-tests@127.0.0.1:{}/{}", self.port(), self.vhost)
    }

    /// `agent.relay` of an agent.
    pub fn agent_url(&self) -> String {
        self.url("agent")
    }

    /// Messages in each queue that has some, by name.
    pub fn waiting(&self) -> Vec<(String, u64)> {
        let arguments = ["-q", "list_queues", "-p", &self.vhost, "--no-table-headers", "name", "messages"];
        let text = rabbitmqctl(&self.directory, &arguments);
        let row = |line: &str| line.split_once('\t').map(|(name, n)| (name.to_owned(), n.trim().parse().unwrap()));
        let mut rows: Vec<(String, u64)> = text.lines().filter_map(row).filter(|(_, n)| *n > 0).collect();
        rows.sort();
        rows
    }
}

/// A new, empty database on the PostgreSQL server in a directory, made as an operator makes one; how the scheduler reaches it.
pub fn database(server: &Path) -> PostgresConfig {
    let name = unique("mig");
    create_database(server, &name);
    reach_as(server, &name, "migscheduler")
}

/// The same, as a copy of one that is made once: quicker by far, but everybody may connect to it.
pub fn copied_database(server: &Path) -> PostgresConfig {
    const ORIGINAL: &str = "mig_original";
    once(server, "original", || drop(create_database(server, ORIGINAL)));
    let name = unique("copy");
    psql(server, "postgres", &format!("CREATE DATABASE {name} TEMPLATE {ORIGINAL} OWNER migadmin"));
    reach_as(server, &name, "migscheduler")
}

/// The password of a user, as the script keeps it.
fn password(server: &Path, user: &str) -> String {
    let credentials = std::fs::read_to_string(server.join("credentials")).unwrap();
    credentials.lines().find_map(|line| line.strip_prefix(user)?.strip_prefix('/')).unwrap().to_owned()
}

/// How a user reaches a database.
pub fn reach_as(server: &Path, name: &str, user: &str) -> PostgresConfig {
    PostgresConfig { user: user.into(), ..reach(server, name, &password(server, user)) }
}

/// How the scheduler reaches a database.
pub fn reach(server: &Path, name: &str, password: &str) -> PostgresConfig {
    PostgresConfig {
        host: "127.0.0.1".into(),
        port: port(server, "port"),
        database: name.into(),
        user: "migscheduler".into(),
        password: Secret::new(password.into()),
        ssl_mode: SslMode::Disable,
        ca: None,
        connections_max: 10,
        timeout: Duration::from_secs(10),
    }
}

/// Runs `scripts/createlocaldb.sh`; returns what it printed.
pub fn create_database(server: &Path, name: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/createlocaldb.sh");
    let output = Command::new(script)
        .arg("--credentials")
        .arg(server.join("credentials"))
        .env("PGHOST", "127.0.0.1")
        .env("PGPORT", port(server, "port").to_string())
        .env("PGDATABASE", name)
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "createlocaldb.sh: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Runs SQL as the superuser of the server; returns the bare values.
pub fn psql(server: &Path, database: &str, sql: &str) -> String {
    let output = Command::new("psql")
        .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-h", "127.0.0.1", "-U", "postgres"])
        .args(["-p", &port(server, "port").to_string(), "-d", database, "-c", sql])
        .output()
        .unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{sql}: {}", text(&output.stderr));
    text(&output.stdout).trim_end().to_owned()
}

/// `[postgres]` of the scheduler.
pub fn postgres_section(config: &PostgresConfig) -> String {
    format!(
        "[postgres]\nhost = \"{}\"\nport = {}\ndbname = \"{}\"\nuser = \"{}\"\npassword = \"{}\"\nsslmode = \"disable\"\nmaxconn = {}\n",
        config.host,
        config.port,
        config.database,
        config.user,
        config.password.expose(),
        config.connections_max
    )
}
