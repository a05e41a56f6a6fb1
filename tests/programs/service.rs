//! `mig-agent --install` and `--uninstall`, in the image of a machine: what systemd says of the result.

use crate::common::score::Score;
use crate::common::{Background, Sandbox, text};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const AGENT: &str = env!("CARGO_BIN_EXE_mig-agent");
const LINK: &str = "usr/local/sbin/mig-agent";
const UNIT: &str = "etc/systemd/system/mig-agent.service";
const WANTED: &str = "etc/systemd/system/multi-user.target.wants/mig-agent.service";

fn has_systemd() -> bool {
    let has = Command::new("systemctl").arg("--version").output().is_ok();
    if !has {
        Score::begin("systemctl").skip("it is in Debian's package systemd");
    }
    has
}

/// A machine's directory, with what the agent's installation looks at.
struct Image {
    directory: tempfile::TempDir,
}

impl Image {
    fn new(settings: &str) -> Image {
        let image = Image { directory: tempfile::Builder::new().prefix("mig image ").tempdir().unwrap() };
        for (path, content) in [
            ("usr/lib/systemd/systemd", ""),
            ("etc/group", "root:x:0:\n"),
            (
                "etc/mig/mig-agent.cfg",
                &format!("[agent]\nrelay = dir:///srv/relay\nkeyring = /etc/mig/keys\nacl = /etc/mig/acl\n{settings}"),
            ),
        ] {
            std::fs::create_dir_all(image.path(path).parent().unwrap()).unwrap();
            std::fs::write(image.path(path), content).unwrap();
        }
        // What the unit depends on, as it is on this machine.
        let targets = ["sysinit", "basic", "shutdown", "network-online", "multi-user"];
        let targets = targets.map(|name| format!("usr/lib/systemd/system/{name}.target"));
        for path in targets.iter().map(String::as_str).chain(["bin/kill"]) {
            std::fs::create_dir_all(image.path(path).parent().unwrap()).unwrap();
            std::fs::copy(Path::new("/").join(path), image.path(path)).unwrap();
        }
        image
    }

    fn path(&self, path: &str) -> PathBuf {
        self.directory.path().join(path)
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.path(path)).unwrap()
    }

    fn run(&self, arguments: &[&str]) -> Output {
        Command::new(AGENT).args(arguments).arg("--root").arg(self.directory.path()).output().unwrap()
    }

    /// Runs it well; returns what it says.
    fn says(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output));
        String::from_utf8(output.stdout).unwrap().replace(&format!("{}/", self.directory.path().display()), "")
    }

    fn assert_is_accepted(&self) {
        let verified = self.analyze(&["verify", "--man=no", "mig-agent.service"]);
        assert!(verified.status.success() && verified.stderr.is_empty(), "{}", text(&verified));
    }

    fn analyze(&self, arguments: &[&str]) -> Output {
        let root = format!("--root={}", self.directory.path().display());
        Command::new("systemd-analyze").arg(root).args(arguments).output().unwrap()
    }
}

#[test]
fn an_image_gets_the_service_which_systemd_accepts_as_the_shipped_one() {
    if !has_systemd() {
        return;
    }
    let image = Image::new("");
    let said = image.says(&["--install"]);
    assert_eq!(
        said,
        format!(
            "usr/local/lib/mig-agent/mig-agent: copied\n{LINK}: links to it\n{UNIT}: written\nmig-agent.service: enabled\n"
        ),
        "each thing that was done"
    );
    let program = std::fs::metadata(image.path("usr/local/lib/mig-agent/mig-agent")).unwrap();
    assert_eq!(program.permissions().mode() & 0o7777, 0o755);
    assert!(std::fs::read(image.path("usr/local/lib/mig-agent/mig-agent")).unwrap() == std::fs::read(AGENT).unwrap());
    let version = Command::new(image.path("usr/local/lib/mig-agent/mig-agent")).arg("-V").output().unwrap();
    assert!(version.status.success());
    let unit = image.read(UNIT);
    assert!(unit.contains("\nExecStart=/usr/local/lib/mig-agent/mig-agent -f\n"), "no -c, as none was named: {unit}");
    assert!(unit.contains("\nReadWritePaths=-/srv/relay\n"), "{unit}");
    assert!(unit.contains("\nReadWritePaths=-/usr/local/lib/mig-agent\n"), "it can be upgraded there: {unit}");
    assert_eq!(std::fs::read_link(image.path(LINK)).unwrap(), Path::new("/usr/local/lib/mig-agent/mig-agent"));
    assert_eq!(std::fs::read_link(image.path(WANTED)).unwrap(), Path::new("/").join(UNIT));
    assert_eq!(std::fs::metadata(image.path("var/lib/mig-agent")).unwrap().permissions().mode() & 0o777, 0o700);
    image.assert_is_accepted();
    let exposed = image.analyze(&["security", "--offline=true", "--threshold=34", "mig-agent.service"]);
    assert!(exposed.status.success(), "{}", text(&exposed));

    let look = |path: &str| std::fs::metadata(image.path(path)).map(|look| (look.ino(), look.mtime_nsec())).unwrap();
    let before = (look(UNIT), look("usr/local/lib/mig-agent/mig-agent"));
    let said = image.says(&["--install"]);
    assert!(said.contains("mig-agent: unchanged\n") && said.contains(&format!("{UNIT}: unchanged\n")), "{said}");
    assert_eq!((look(UNIT), look("usr/local/lib/mig-agent/mig-agent")), before);

    let said = image.says(&["--uninstall"]);
    assert!(said.contains("var/lib/mig-agent: stays: the agent's id, commands and answers"), "{said}");
    for gone in [UNIT, WANTED, LINK, "usr/local/lib/mig-agent/mig-agent"] {
        assert!(std::fs::symlink_metadata(image.path(gone)).is_err(), "{gone}");
    }
    assert!(image.path("var/lib/mig-agent").is_dir() && image.path("etc/mig/mig-agent.cfg").exists());
    assert_eq!(image.says(&["--uninstall"]), "mig-agent.service: is not installed\n");
}

#[test]
fn the_unit_names_what_the_configuration_names() {
    if !has_systemd() {
        return;
    }
    let settings = "rundir = \"/srv/my agent\"\ninstalldir = /opt/mig\nsocket = /srv/sockets/mig\n\
        [logging]\nmode = file\nfile = /srv/log/mig.log\n";
    let image = Image::new(settings);
    std::fs::write(image.path("etc/group"), "root:x:0:\nmig:x:99:\n").unwrap();
    std::fs::rename(image.path("etc/mig/mig-agent.cfg"), image.path("etc/mig/other.cfg")).unwrap();
    image.says(&["--install", "-c", "/etc/mig/other.cfg"]);
    let unit = image.read(UNIT);
    for line in [
        "ExecStart=/opt/mig/mig-agent -c /etc/mig/other.cfg -f",
        "ReadWritePaths=\"-/srv/my agent\"",
        "ReadWritePaths=-/srv/sockets",
        "ReadWritePaths=-/srv/log",
        "ReadWritePaths=-/opt/mig",
        "SupplementaryGroups=mig",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}: {unit}");
    }
    assert!(image.path("srv/my agent").is_dir() && image.path("opt/mig/mig-agent").exists());
    image.assert_is_accepted();
}

#[test]
fn what_others_put_there_is_replaced_on_request_or_not_at_all() {
    if !has_systemd() {
        return;
    }
    let image = Image::new("");
    std::fs::create_dir_all(image.path("usr/local/lib/mig-agent")).unwrap();
    std::fs::write(image.path("usr/local/lib/mig-agent/mig-agent"), "another version").unwrap();
    let said = image.says(&["--install"]);
    assert!(said.contains("usr/local/lib/mig-agent/mig-agent: replaced: another program was there\n"), "{said}");
    std::fs::write(image.path(UNIT), "[Service]\nExecStart=/mine\n").unwrap();
    for arguments in ["--install", "--uninstall"] {
        let refused = image.run(&[arguments]);
        assert_eq!(refused.status.code(), Some(69), "{}", text(&refused));
        assert!(text(&refused).contains("was not written by mig-agent --install"), "{}", text(&refused));
    }
    assert_eq!(image.read(UNIT), "[Service]\nExecStart=/mine\n");
    assert!(image.path("usr/local/lib/mig-agent/mig-agent").exists());
}

#[test]
fn a_machine_without_systemd_is_refused_with_a_sentence() {
    let image = Image::new("");
    std::fs::remove_file(image.path("usr/lib/systemd/systemd")).unwrap();
    for arguments in ["--install", "--uninstall"] {
        let refused = image.run(&[arguments]);
        assert_eq!(refused.status.code(), Some(69), "{}", text(&refused));
        assert!(text(&refused).contains("sysvinit, upstart and OpenRC"), "{}", text(&refused));
    }
    assert!(!image.path("usr/local").exists(), "nothing was touched");
    for (arguments, says) in
        [(&["--install", "--uninstall"][..], "exclude each other"), (&[], "--root needs --install or --uninstall")]
    {
        let refused = image.run(arguments);
        assert_eq!(refused.status.code(), Some(64), "{}", text(&refused));
        assert!(text(&refused).contains(says), "{}", text(&refused));
    }
}

#[test]
fn an_agent_that_cannot_become_a_service_runs_where_it_was_started() {
    if Path::new("/run/systemd/system").exists() {
        return Score::begin("installservice").skip("it would install a service on this machine");
    }
    let sandbox = Sandbox::new();
    let cfg = sandbox.agent_cfg(1);
    let text = std::fs::read_to_string(&cfg).unwrap();
    std::fs::write(&cfg, text.replace("[logging]", "installservice = on\nisimmortal = off\n[logging]")).unwrap();
    let mut command = Command::new(AGENT);
    command.args(["-c", &cfg]).env_remove("INVOCATION_ID").env_remove("NOTIFY_SOCKET");
    let agent = Background::start(command, sandbox.path("agent-1.log"));
    sandbox.wait("working", |sandbox| sandbox.path("agent-1/agent.sock").exists());
    let log = std::fs::read_to_string(sandbox.path("agent-1.log")).unwrap();
    assert!(
        log.contains("agent.installservice: this machine is not run by systemd") && log.contains("runs here"),
        "{log}"
    );
    assert_eq!(agent.terminate(), Some(0));
}
