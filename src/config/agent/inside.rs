//! The configuration that is inside an agent: TOML with the names of the original's `mig-agent-conf.go`, in lower case.
//! `conf/mig-agent-conf.toml.inc` shows every key.
//!
//! Each becomes a setting as of a configuration file, so that both are checked by the same code and a file can replace it.

use crate::config::{ConfigError, Ini};
use serde_json::{Map, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A setting that is text inside the configuration, where a file has a path. The names cannot stand in a file.
pub(super) const KEYS: (&str, &str) = ("agent", "publicpgpkeys inside");
pub(super) const ACL: (&str, &str) = ("agent", "agentacl inside");
pub(super) const CA: (&str, &str) = ("certs", "cacert inside");
pub(super) const CERTIFICATE: (&str, &str) = ("certs", "agentcert inside");
pub(super) const KEY: (&str, &str) = ("certs", "agentkey inside");

/// The kinds of such text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inside {
    /// Keys of investigators.
    Keys,
    /// An access list.
    Acl,
    /// PEM certificates.
    Certificates,
    /// The agent's private key.
    PrivateKey,
}

impl Inside {
    /// The kind of a setting; None if it is one that a file has too.
    pub fn of(section: &str, key: &str) -> Option<Inside> {
        let kinds = [
            (KEYS, Inside::Keys),
            (ACL, Inside::Acl),
            (CA, Inside::Certificates),
            (CERTIFICATE, Inside::Certificates),
            (KEY, Inside::PrivateKey),
        ];
        kinds.into_iter().find(|(place, _)| *place == (section, key)).map(|(_, kind)| kind)
    }
}

/// What a key holds.
#[derive(Clone, Copy)]
enum Shape {
    /// Text, a number, or true and false.
    Plain,
    /// Text, or a list of it, joined with this.
    Texts(&'static str),
    /// Texts, each a JSON object, joined to a JSON array.
    Objects,
    /// A table.
    Table,
}

/// Name, setting and shape of each key.
const NAMES: [(&str, (&str, &str), Shape); 21] = [
    ("amqpbroker", ("agent", "relay"), Shape::Plain),
    ("queuetype", ("agent", "queuetype"), Shape::Plain),
    ("apiurl", ("agent", "api"), Shape::Plain),
    ("heartbeatfreq", ("agent", "heartbeatfreq"), Shape::Plain),
    ("refreshenv", ("agent", "refreshenv"), Shape::Plain),
    ("moduletimeout", ("agent", "moduletimeout"), Shape::Plain),
    ("socket", ("agent", "socket"), Shape::Plain),
    ("proxies", ("agent", "proxies"), Shape::Texts(" ")),
    ("tags", ("agent", "tags"), Shape::Table),
    ("isimmortal", ("agent", "isimmortal"), Shape::Plain),
    ("mustinstallservice", ("agent", "installservice"), Shape::Plain),
    ("installdir", ("agent", "installdir"), Shape::Plain),
    ("checkin", ("agent", "checkin"), Shape::Plain),
    ("checkintime", ("agent", "checkintime"), Shape::Plain),
    ("discoverpublicip", ("agent", "discoverpublicip"), Shape::Plain),
    ("rundir", ("agent", "rundir"), Shape::Plain),
    ("agentacl", ACL, Shape::Objects),
    ("publicpgpkeys", KEYS, Shape::Texts("\n")),
    ("cacert", CA, Shape::Plain),
    ("agentcert", CERTIFICATE, Shape::Plain),
    ("agentkey", KEY, Shape::Plain),
];

/// The tables, and the sections whose keys they have.
const TABLES: [(&str, &str); 2] = [("loggingconf", "logging"), ("persistent", "persistent")];

/// Reads the text of `file`. The values are checked by those who take them.
pub(super) fn parse(text: &str, file: &str) -> Result<Ini, ConfigError> {
    let at = |offset: usize| Some(1 + text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count());
    let error = |offset: Option<usize>, text: String| ConfigError {
        file: file.to_owned(),
        line: offset.and_then(at),
        text,
        is_temporary: false,
    };
    let document = DeTable::parse(text)
        .map_err(|e| error(e.span().map(|span| span.start), format!("is not TOML: {}", e.message())))?;
    let mut ini = Ini::empty(file).with_names(name_of);
    for (name, value) in document.get_ref() {
        let (name, offset) = (name.get_ref().as_ref(), name.span().start);
        let line = at(offset).unwrap_or(1);
        if let Some((_, section)) = TABLES.iter().find(|(table, _)| *table == name) {
            let DeValue::Table(table) = value.get_ref() else {
                return Err(error(Some(offset), format!("{name}: is not a table such as {{ mode = \"stdout\" }}")));
            };
            for (key, value) in table {
                let (shown, offset) = (format!("{name}.{}", key.get_ref()), key.span().start);
                let text =
                    plain(value.get_ref()).ok_or_else(|| error(Some(offset), format!("{shown}: is not text")))?;
                let key = key.get_ref().to_lowercase();
                if let Some(earlier) = ini.set(section, &key, &shown, at(offset).unwrap_or(1), text) {
                    return Err(error(Some(offset), format!("{shown}: is already set in line {earlier}")));
                }
            }
            continue;
        }
        let Some((_, (section, key), shape)) = NAMES.iter().find(|(known, ..)| *known == name) else {
            let known = NAMES.map(|(known, ..)| known).join(", ");
            return Err(error(
                Some(offset),
                format!("{name}: unknown key; known are {known}, loggingconf, persistent"),
            ));
        };
        let (value, shape) = (value.get_ref(), *shape);
        let text = text_of(value, shape).map_err(|reason| error(Some(offset), format!("{name}: {reason}")))?;
        // An empty list is none.
        if !(text.is_empty() && matches!(shape, Shape::Texts(_))) {
            ini.set(section, key, name, line, text);
        }
    }
    Ok(ini)
}

/// What a setting is called inside.
fn name_of(section: &str, key: &str) -> String {
    const OF_FILES: [((&str, &str), &str); 5] = [
        (("agent", "keyring"), "publicpgpkeys"),
        (("agent", "acl"), "agentacl"),
        (("certs", "ca"), "cacert"),
        (("certs", "cert"), "agentcert"),
        (("certs", "key"), "agentkey"),
    ];
    let names = NAMES.iter().map(|(name, place, _)| (*place, *name)).chain(OF_FILES);
    let name = names.into_iter().find(|(place, _)| *place == (section, key)).map(|(_, name)| name.to_owned());
    let table = TABLES.iter().find(|(_, of)| *of == section).map_or(section, |(table, _)| table);
    name.unwrap_or_else(|| format!("{table}.{key}"))
}

/// A value as the text of a setting.
fn text_of(value: &DeValue, shape: Shape) -> Result<String, String> {
    match shape {
        Shape::Plain => plain(value).ok_or_else(|| "is not text, a number, true or false".to_owned()),
        Shape::Texts(between) => {
            let texts = texts(value).ok_or("is not a list of texts")?;
            // What a file separates by commas or spaces has none in it.
            let splits = |text: &String| between == " " && text.contains([',', ' ', '\t', '\n']);
            match texts.iter().position(splits) {
                Some(index) => Err(format!("number {} has a comma or a space in it", index + 1)),
                None => Ok(texts.join(between)),
            }
        }
        Shape::Objects => {
            let texts = texts(value).ok_or("is not a list of texts, each a JSON object")?;
            for (index, text) in texts.iter().enumerate() {
                let object = crate::json::value(text).map_err(|e| format!("number {}: {e}", index + 1))?;
                object.as_object().ok_or_else(|| format!("number {} is not a JSON object", index + 1))?;
            }
            Ok(format!("[{}]", texts.join(",")))
        }
        Shape::Table => match value {
            DeValue::Table(table) => Ok(Value::Object(object(table)?).to_string()),
            _ => Err("is not a table such as { operator = \"infra\" }".into()),
        },
    }
}

fn plain(value: &DeValue) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.as_str().to_owned()),
        DeValue::Boolean(is) => Some(is.to_string()),
        _ => None,
    }
}

fn texts(value: &DeValue) -> Option<Vec<String>> {
    match value {
        DeValue::String(text) => Some(vec![text.to_string()]),
        DeValue::Array(array) => array.iter().map(|one| one.get_ref().as_str().map(str::to_owned)).collect(),
        _ => None,
    }
}

fn object(table: &DeTable) -> Result<Map<String, Value>, String> {
    table.iter().map(|(key, value)| Ok((key.get_ref().to_string(), json(value)?))).collect()
}

/// The parser bounds the depth.
fn json(value: &Spanned<DeValue>) -> Result<Value, String> {
    Ok(match value.get_ref() {
        DeValue::String(text) => text.as_ref().into(),
        DeValue::Boolean(is) => (*is).into(),
        DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
            Ok(number) => number.into(),
            Err(_) => return Err(format!("{} is larger than a number may be", number.as_str())),
        },
        DeValue::Float(number) => match number.as_str().parse::<f64>() {
            Ok(finite) if finite.is_finite() => finite.into(),
            _ => return Err(format!("{} is no number of JSON", number.as_str())),
        },
        DeValue::Datetime(time) => time.to_string().into(),
        DeValue::Array(array) => Value::Array(array.iter().map(json).collect::<Result<_, _>>()?),
        DeValue::Table(table) => Value::Object(object(table)?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(text: &str) -> String {
        parse(text, "c.toml").err().unwrap().to_string()
    }

    #[test]
    fn errors_name_file_line_and_key() {
        for (text, expected) in [
            ("amqpbroker = \"x\"\n\nAMQPBROKER = \"y\"\n", "c.toml:3: AMQPBROKER: unknown key; known are amqpbroker, "),
            ("# x\nsocket = \n", "c.toml:2: is not TOML: "),
            ("socket = \"a\"\nsocket = \"b\"\n", "c.toml:2: is not TOML: duplicate key"),
            ("\nproxies = [1]\n", "c.toml:2: proxies: is not a list of texts"),
            ("tags = \"x\"\n", "c.toml:1: tags: is not a table"),
            ("agentacl = ['{}', '[]']\n", "c.toml:1: agentacl: number 2 is not a JSON object"),
            ("agentacl = ['{}}, {']\n", "c.toml:1: agentacl: number 1: "),
            ("loggingconf = 1\n", "c.toml:1: loggingconf: is not a table"),
            ("[loggingconf]\nmode = [1]\n", "c.toml:2: loggingconf.mode: is not text"),
            ("tags = { a = inf }\n", "c.toml:1: tags: inf is no number of JSON"),
            ("proxies = ['http://u:1,2@h:1']\n", "c.toml:1: proxies: number 1 has a comma"),
            ("[loggingconf]\nmode = 'stdout'\nMode = 'file'\n", "c.toml:2: loggingconf.mode: is already set in line 3"),
            ("checkin = 1979-05-27\n", "c.toml:1: checkin: is not text, a number, true or false"),
        ] {
            assert!(error(text).starts_with(expected), "{text}: {}", error(text));
        }
        let deep = format!("tags = {}1{}", "[".repeat(5000), "]".repeat(5000));
        assert!(error(&deep).starts_with("c.toml:1: is not TOML: "), "{}", error(&deep));
    }

    #[test]
    fn values_become_the_text_of_a_configuration_file() {
        let text = "proxies = ['a:1', \"b:2\"]\ncheckin = true\nheartbeatfreq = '5m'\n\
            tags = { a = 1, b = { c = [0x1f, 1.5, true, 'x'] } }\nagentacl = ['{\"a\":1}', '{\"b\":2}']\n\
            [loggingconf]\nmode = 'syslog'\nport = 514\n";
        let mut ini = parse(text, "c.toml").unwrap();
        for (section, key, expected) in [
            ("agent", "proxies", "a:1 b:2"),
            ("agent", "checkin", "true"),
            ("agent", "heartbeatfreq", "5m"),
            ("agent", "tags", r#"{"a":1,"b":{"c":[31,1.5,true,"x"]}}"#),
            ("agent", ACL.1, r#"[{"a":1},{"b":2}]"#),
            ("logging", "mode", "syslog"),
            ("logging", "port", "514"),
        ] {
            assert_eq!(ini.text(section, key, "").unwrap(), expected, "{key}");
        }
        ini.finish(&["agent", "logging"]).unwrap();
    }
}
