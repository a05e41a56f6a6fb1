//! What is read of a unit's file and its drop-ins (systemd.syntax(7)). Variables of the environment are not.

use crate::modules::files;

/// Settings that run programs, in the order in which they do.
const COMMANDS: [&str; 7] =
    ["ExecCondition", "ExecStartPre", "ExecStart", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost"];
/// Settings that say when: of timers, paths and sockets.
const SCHEDULES: [&str; 19] = [
    "OnCalendar",
    "OnActiveSec",
    "OnBootSec",
    "OnStartupSec",
    "OnUnitActiveSec",
    "OnUnitInactiveSec",
    "OnClockChange",
    "OnTimezoneChange",
    "PathExists",
    "PathExistsGlob",
    "PathChanged",
    "PathModified",
    "DirectoryNotEmpty",
    "ListenStream",
    "ListenDatagram",
    "ListenSequentialPacket",
    "ListenFIFO",
    "ListenSpecial",
    "ListenNetlink",
];
/// Settings by which a unit can be enabled.
const INSTALL: [&str; 5] = ["WantedBy", "RequiredBy", "UpheldBy", "Also", "Alias"];
/// Values of one unit: far more than people write.
pub(super) const VALUES_MAX: usize = 1_000;

/// The settings of a unit that are used.
#[derive(Debug, Default)]
pub(super) struct Settings {
    commands: Vec<(usize, String)>,
    schedules: Vec<(usize, String)>,
    user: String,
    is_dynamic: bool,
    unit: String,
    can_be_enabled: bool,
    is_cut: bool,
}

impl Settings {
    /// Reads a file, behind those that it changes.
    pub(super) fn read(&mut self, bytes: &[u8]) {
        let (mut section, mut begun) = (String::new(), String::new());
        for (_, line) in files::lines(bytes) {
            let line = line.trim();
            // Also between the lines of one that is continued.
            if line.starts_with('#') || line.starts_with(';') {
                continue;
            }
            if let Some(part) = line.strip_suffix('\\') {
                begun.push_str(part);
                begun.push(' ');
                continue;
            }
            begun.push_str(line);
            let line = std::mem::take(&mut begun);
            if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
                section = name.to_owned();
            } else if let Some((key, value)) = line.split_once('=') {
                self.set(&section, key.trim(), value.trim());
            }
        }
    }

    fn set(&mut self, section: &str, key: &str, value: &str) {
        let place = |keys: &[&str]| keys.iter().position(|known| *known == key);
        match (section, key) {
            ("Service" | "Socket" | "Mount" | "Swap", "User") => value.clone_into(&mut self.user),
            ("Service", "DynamicUser") => self.is_dynamic = ["yes", "true", "1", "on"].contains(&value),
            ("Timer" | "Path", "Unit") | ("Socket", "Service") => value.clone_into(&mut self.unit),
            ("Install", _) => self.can_be_enabled |= INSTALL.contains(&key) && !value.is_empty(),
            ("Service" | "Socket", _) if place(&COMMANDS).is_some() => {
                self.is_cut |= !add(&mut self.commands, place(&COMMANDS), value, value.to_owned());
            }
            ("Timer" | "Path" | "Socket", _) => {
                self.is_cut |= !add(&mut self.schedules, place(&SCHEDULES), value, format!("{key}={value}"));
            }
            _ => {}
        }
    }

    /// What it runs.
    pub(super) fn commands(&self) -> Vec<&str> {
        self.commands.iter().map(|(_, command)| command.as_str()).collect()
    }

    /// Whether it has more values than are kept.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// When it does, with the names of the settings.
    pub(super) fn schedules(&self) -> Vec<String> {
        self.schedules.iter().map(|(_, schedule)| schedule.clone()).collect()
    }

    /// As whom; empty if it does not say so.
    pub(super) fn user(&self) -> String {
        if self.user.is_empty() && self.is_dynamic { "dynamic".to_owned() } else { self.user.clone() }
    }

    /// The unit that a timer, a path or a socket of this name starts; empty for another unit.
    pub(super) fn unit(&self, name: &str) -> String {
        match name.rsplit_once('.') {
            Some((_, "timer" | "path" | "socket")) if !self.unit.is_empty() => self.unit.clone(),
            Some((stem, "timer" | "path" | "socket")) => format!("{stem}.service"),
            _ => String::new(),
        }
    }

    /// Whether it says how.
    pub(super) fn can_be_enabled(&self) -> bool {
        self.can_be_enabled
    }
}

/// Adds a value of the setting at `place`; an empty one removes those before it. False: there are too many.
fn add(values: &mut Vec<(usize, String)>, place: Option<usize>, value: &str, text: String) -> bool {
    let Some(place) = place else { return true };
    if value.is_empty() {
        values.retain(|(of, _)| *of != place);
    } else if values.len() < VALUES_MAX {
        let at = values.partition_point(|(of, _)| *of <= place);
        values.insert(at, (place, text));
    } else {
        return false;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_read_and_changed_by_drop_ins() {
        let mut settings = Settings::default();
        settings.read(
            b"[Unit]\nUser=no\n# c\n[Service]\nExecStop=/bin/c\nExecStart = /bin/a \\\n; c\n  -x\nExecStart=/bin/b\n\
              Environment=A=secret\nDynamicUser=yes\n[Install]\nWantedBy=\n",
        );
        assert_eq!(settings.commands(), ["/bin/a  -x", "/bin/b", "/bin/c"]);
        assert_eq!((settings.user().as_str(), settings.can_be_enabled()), ("dynamic", false));
        settings.read(b"[Service]\nExecStart=\nExecStart=/bin/d\nUser=joe\n[Install]\nAlias=x.service\n");
        assert_eq!(settings.commands(), ["/bin/d", "/bin/c"]);
        assert_eq!((settings.user().as_str(), settings.can_be_enabled()), ("joe", true));
        let mut timer = Settings::default();
        timer.read(b"[Timer]\nOnCalendar=daily\nOnBootSec=5\nOnCalendar=weekly\nPersistent=true");
        assert_eq!(timer.schedules(), ["OnCalendar=daily", "OnCalendar=weekly", "OnBootSec=5"]);
        assert_eq!((timer.unit("a.timer"), timer.unit("a.service")), ("a.service".into(), String::new()));
        assert!(!format!("{settings:?}").contains("secret"));
    }
}
