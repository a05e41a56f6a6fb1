//! What is read of a unit's file and its drop-ins (systemd.syntax(7)). Variables of the environment are not.

/// Settings that run programs, in the order in which they do.
const COMMANDS: [&str; 9] = [
    "ExecCondition",
    "ExecStartPre",
    "ExecStart",
    "ExecStartPost",
    "ExecReload",
    "ExecReloadPost",
    "ExecStopPre",
    "ExecStop",
    "ExecStopPost",
];
/// Settings that say when: of timers, paths and sockets.
const SCHEDULES: [&str; 21] = [
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
    "ListenMessageQueue",
    "ListenUSBFunction",
];
/// Settings by which a unit can be enabled.
const INSTALL: [&str; 5] = ["WantedBy", "RequiredBy", "UpheldBy", "Also", "Alias"];
/// What editors of other systems put in front of a text.
const BYTE_ORDER_MARK: char = '\u{feff}';
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
    /// A socket starts a service for each connection.
    accepts: bool,
    can_be_enabled: bool,
    is_cut: bool,
}

impl Settings {
    /// Reads a file, behind those that it changes. `include` has the bytes of files that its lines name: systemd before version 247
    /// reads those there.
    pub(super) fn read(&mut self, bytes: &[u8], include: &mut dyn FnMut(&str) -> Option<Vec<u8>>) {
        let text = String::from_utf8_lossy(bytes);
        let (mut section, mut begun, mut has_mark) = (String::new(), None::<String>, false);
        for line in lines(&text) {
            // Also between the lines of one that is continued.
            if line.trim_start().starts_with(['#', ';']) {
                continue;
            }
            let line = match line.strip_prefix(BYTE_ORDER_MARK).filter(|_| !has_mark) {
                Some(rest) => {
                    has_mark = true;
                    rest
                }
                None => line,
            };
            let mut line = begun.take().unwrap_or_default() + line;
            // Each of them escapes the next.
            let slashes = line.len() - line.trim_end_matches('\\').len();
            if slashes % 2 == 1 {
                line.pop();
                line.push(' ');
                begun = Some(line);
            } else {
                self.read_line(line.trim(), &mut section, include);
            }
        }
        // A `\` behind which the text ends continues nothing.
        if let Some(line) = begun {
            self.read_line(line.trim(), &mut section, include);
        }
    }

    fn read_line(&mut self, line: &str, section: &mut String, include: &mut dyn FnMut(&str) -> Option<Vec<u8>>) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            name.clone_into(section);
        } else if let Some(bytes) = line.strip_prefix(".include ").and_then(|path| include(path.trim())) {
            self.read(&bytes, &mut |_| None);
        } else if let Some((key, value)) = line.split_once('=') {
            self.set(section, key.trim(), value.trim());
        }
    }

    fn set(&mut self, section: &str, key: &str, value: &str) {
        let place = |keys: &[&str]| keys.iter().position(|known| *known == key);
        match (section, key) {
            ("Service" | "Socket" | "Mount" | "Swap", "User") => value.clone_into(&mut self.user),
            ("Service", "DynamicUser") => self.is_dynamic = is_yes(value),
            ("Socket", "Accept") => self.accepts = is_yes(value),
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
            Some((stem, "socket")) if self.accepts => format!("{stem}@.service"),
            Some((stem, "timer" | "path" | "socket")) => format!("{stem}.service"),
            _ => String::new(),
        }
    }

    /// Whether it says how.
    pub(super) fn can_be_enabled(&self) -> bool {
        self.can_be_enabled
    }
}

/// The lines of a text. One ends, as for systemd, with `\n`, `\r` or a zero byte, or with several of them: each once, the zero byte
/// last.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    const ENDS: [char; 3] = ['\n', '\r', '\0'];
    let mut rest = text;
    std::iter::from_fn(move || {
        let (line, behind) = rest.split_at(rest.find(ENDS).unwrap_or(rest.len()));
        let end = behind.as_bytes();
        let is_end =
            |at: &usize| ENDS.contains(&end[*at].into()) && end[..*at].iter().all(|byte| ![0, end[*at]].contains(byte));
        let end_bytes = (0..end.len()).take_while(is_end).count();
        let is_behind_last = rest.is_empty();
        rest = &behind[end_bytes..];
        (!is_behind_last).then_some(line)
    })
}

/// What systemd takes as true.
fn is_yes(value: &str) -> bool {
    ["1", "yes", "y", "true", "t", "on"].iter().any(|word| word.eq_ignore_ascii_case(value))
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
        let none = &mut |_: &str| None;
        let mut settings = Settings::default();
        settings.read(
            b"[Unit]\nUser=no\n# c\n[Service]\nExecStop=/bin/c\nExecStart = /bin/a \\\n; c\n  -x\nExecStart=/bin/b\n\
              Environment=A=secret\nDynamicUser=Yes\n[Install]\nWantedBy=\n",
            none,
        );
        assert_eq!(settings.commands(), ["/bin/a    -x", "/bin/b", "/bin/c"]);
        assert_eq!((settings.user().as_str(), settings.can_be_enabled()), ("dynamic", false));
        settings.read(b"[Service]\nExecStart=\nExecStart=/bin/d\nUser=joe\n[Install]\nAlias=x.service\n", none);
        assert_eq!(settings.commands(), ["/bin/d", "/bin/c"]);
        assert_eq!((settings.user().as_str(), settings.can_be_enabled()), ("joe", true));
        let mut timer = Settings::default();
        timer.read(b"[Timer]\nOnCalendar=daily\nOnBootSec=5\nOnCalendar=weekly\nPersistent=true", none);
        assert_eq!(timer.schedules(), ["OnCalendar=daily", "OnCalendar=weekly", "OnBootSec=5"]);
        assert_eq!((timer.unit("a.timer"), timer.unit("a.service")), ("a.service".into(), String::new()));
        assert!(!format!("{settings:?}").contains("secret"));
    }

    #[test]
    fn a_command_is_read_where_systemd_reads_one() {
        for text in [
            r"Environment=A=x\\",
            "Environment=A=x\\ ",
            r"Environment=A=x\\\",
            "Environment=A=\r[Service]",
            "Environment=A=\\\n",
            "Environment=A=\\\n# c",
        ] {
            // The last line is a part of the one before it in some: behind an odd number, and behind a comment.
            let is_continued = text.ends_with(r"x\\\") || text.ends_with("# c");
            let mut settings = Settings::default();
            let text = format!("[Service]\n{text}\nExecStart=/bin/x\n");
            settings.read(text.as_bytes(), &mut |_| None);
            assert_eq!(settings.commands().is_empty(), is_continued, "{text:?}");
        }
        let mut settings = Settings::default();
        settings.read("# c\n\u{feff}[Service]\r\nExecStart=/bin/a \\\r\n-x\r\n".as_bytes(), &mut |_| None);
        assert_eq!(settings.commands(), ["/bin/a  -x"]);
        for (text, expected) in [
            // The file ends there.
            ("ExecStart=/bin/a \\", &["/bin/a"][..]),
            ("ExecStart=/bin/a \\\n# c", &["/bin/a"]),
            ("ExecStart=/bin/a \\\n-x", &["/bin/a  -x"]),
            // One end of a line, or two.
            ("ExecStart=/bin/a \\\n\r-x\n", &["/bin/a  -x"]),
            ("ExecStart=/bin/a \\\r\n\0-x\n", &["/bin/a  -x"]),
            ("ExecStart=/bin/a \\\n\nExecStart=/bin/b", &["/bin/a", "/bin/b"]),
            ("ExecStart=/bin/a \\\n\r\nExecStart=/bin/b", &["/bin/a", "/bin/b"]),
            ("ExecStart=/bin/a \\\0\nExecStart=/bin/b", &["/bin/a", "/bin/b"]),
        ] {
            let mut settings = Settings::default();
            settings.read(format!("[Service]\n{text}").as_bytes(), &mut |_| None);
            assert_eq!(settings.commands(), expected, "{text:?}");
        }
        let mut socket = Settings::default();
        socket.read(b"[Socket]\nExecStopPre=/bin/x\nAccept=on\n", &mut |_| None);
        assert_eq!((socket.commands(), socket.unit("s.socket")), (vec!["/bin/x"], "s@.service".to_owned()));
        let mut unit = Settings::default();
        unit.read(b".include /a\n[Service]\nExecStop=/bin/stop\n", &mut |path| {
            assert_eq!(path, "/a");
            Some(b"[Service]\nExecStart=/bin/of-a\n.include /b\n".to_vec())
        });
        assert_eq!(unit.commands(), ["/bin/of-a", "/bin/stop"]);
    }
}
