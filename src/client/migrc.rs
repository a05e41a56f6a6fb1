//! `~/.migrc`: the API, the key and the target macros of an investigator, as the original's clients read it.

use super::signing::SigningKey;
use crate::config::{ConfigError, Ini};
use crate::error::{ExitClass, ProgramError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use url::{Host, Url};

/// Where the API is below its server, when the address does not say it.
const BASE_ROUTE: &str = "/api/v1";

/// A parsed migrc. Its sections may also hold keys of the original's programs, which are ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrc {
    /// The file.
    pub file: PathBuf,
    /// `[api] url`, without a slash at its end.
    pub api_url: Option<String>,
    /// `[api] skipverifycert`.
    pub skip_verify_certificate: bool,
    /// `[api] cacert`: the only authorities to trust, in a PEM file.
    pub authorities: Option<PathBuf>,
    /// `[gpg] home`.
    gpg_home: Option<PathBuf>,
    /// `[gpg] keyid`; empty if it is missing.
    key_id: String,
    /// `[targets] macro = NAME:TARGET`.
    macros: BTreeMap<String, String>,
}

impl Migrc {
    /// Reads the file of `-c`, or `~/.migrc`. The file must be there.
    pub fn read(option: Option<&str>) -> Result<Migrc, ProgramError> {
        let file = path(option)?;
        if !file.exists() {
            return Err(ProgramError::new(ExitClass::Usage, format!("no -k, and no {}", file.display())));
        }
        Ok(Migrc::parse(Ini::read(&file)?, &file)?)
    }

    /// The same, but an empty one where there is no `~/.migrc` and none was named.
    pub fn read_if_there(option: Option<&str>) -> Result<Migrc, ProgramError> {
        let file = path(option)?;
        if option.is_none() && !file.exists() {
            return Ok(Migrc::parse(Ini::parse("", &file.display().to_string())?, &file)?);
        }
        Ok(Migrc::parse(Ini::read(&file)?, &file)?)
    }

    fn parse(mut ini: Ini, file: &Path) -> Result<Migrc, ConfigError> {
        let macros = ini.take("targets", "macro", BTreeMap::new(), |lines| {
            let one = |line: &str| match line.split_once(':') {
                Some((name, target)) if !name.trim().is_empty() && !target.trim().is_empty() => {
                    Ok((name.trim().to_owned(), target.trim().to_owned()))
                }
                _ => Err(format!("'{line}' is not NAME:TARGET, such as linux:queueloc LIKE 'linux.%'")),
            };
            lines.lines().map(one).collect()
        })?;
        let skip_verify_certificate = ini.boolean("api", "skipverifycert", false)?;
        let authorities = ini.path("api", "cacert")?;
        if skip_verify_certificate && authorities.is_some() {
            return Err(ini.error(None, "api", "skipverifycert", "is on, so cacert would not be used; turn it off"));
        }
        Ok(Migrc {
            api_url: ini.take("api", "url", None, |text| parse_url(text).map(Some))?,
            skip_verify_certificate,
            authorities,
            gpg_home: ini.path("gpg", "home")?,
            key_id: ini.text("gpg", "keyid", "")?,
            macros,
            file: file.to_owned(),
        })
    }

    /// What others between here and the API can do, if the file permits it.
    pub fn exposure(&self) -> Option<&'static str> {
        let url = self.api_url.as_deref().and_then(|url| Url::parse(url).ok())?;
        let is_loopback = match url.host() {
            Some(Host::Domain(name)) => name == "localhost",
            Some(Host::Ipv4(address)) => address.is_loopback(),
            Some(Host::Ipv6(address)) => address.is_loopback(),
            None => false,
        };
        match (url.scheme(), is_loopback) {
            (_, true) => None,
            ("http", _) => Some("api.url is http: others on the way read results and can use the session"),
            _ if self.skip_verify_certificate => {
                Some("skipverifycert is on: who pretends to be the API reads and changes answers")
            }
            _ => None,
        }
    }

    /// The key that it names.
    pub fn signing_key(&self) -> Result<SigningKey, ProgramError> {
        if self.key_id.is_empty() {
            return Err(self.error("gpg.keyid: is missing").into());
        }
        Ok(SigningKey::Gpg { id: self.key_id.clone(), home: self.gpg_home.clone() })
    }

    /// Whether it names a key.
    pub fn has_key(&self) -> bool {
        !self.key_id.is_empty()
    }

    /// An error in the file.
    pub fn error(&self, text: &str) -> ConfigError {
        ConfigError { file: self.file.display().to_string(), line: None, text: text.to_owned(), is_temporary: false }
    }

    /// The target that a macro stands for; another text is returned as it is.
    pub fn target(&self, text: &str) -> String {
        self.macros.get(text.trim()).cloned().unwrap_or_else(|| text.to_owned())
    }

    /// The names of the macros, for an error; empty if there are none.
    pub fn macro_names(&self) -> String {
        self.macros.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
    }
}

/// Checks the API's address, and adds the usual path where it has none.
fn parse_url(text: &str) -> Result<String, String> {
    let url =
        Url::parse(text).map_err(|e| format!("'{text}' is not an address such as https://mig.example.net: {e}"))?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err(format!("'{text}' does not begin with https:// and a host"));
    }
    if url.query().is_some() || url.fragment().is_some() || url.password().is_some() {
        return Err(format!("'{text}' has more than scheme, host, port and path"));
    }
    let path = match url.path().trim_end_matches('/') {
        "" => BASE_ROUTE.to_owned(),
        path => path.to_owned(),
    };
    Ok(url.origin().ascii_serialization() + &path)
}

/// The file of `-c`, or `~/.migrc`.
fn path(option: Option<&str>) -> Result<PathBuf, ProgramError> {
    let default = || std::env::home_dir().map(|home| home.join(".migrc"));
    option
        .map(PathBuf::from)
        .or_else(default)
        .ok_or_else(|| ProgramError::new(ExitClass::Usage, "no home directory; set a key with -k, or the file with -c"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Migrc, String> {
        Migrc::parse(Ini::parse(text, "migrc").unwrap(), Path::new("migrc")).map_err(|e| e.to_string())
    }

    #[test]
    fn what_others_can_read_or_change_is_said() {
        let file = Path::new("rc");
        let read = |text: &str| Migrc::parse(Ini::parse(text, "rc").unwrap(), file);
        let exposure = |text: &str| read(text).unwrap().exposure();
        assert!(exposure("[api]\nurl = http://mig.example.net\n").unwrap().contains("is http"));
        assert!(
            exposure("[api]\nurl = https://x.example.net\nskipverifycert = on\n").unwrap().contains("skipverifycert")
        );
        for quiet in ["http://localhost:1", "http://127.0.0.1:1", "http://[::1]:1", "https://mig.example.net"] {
            assert_eq!(exposure(&format!("[api]\nurl = \"{quiet}\"\n")), None, "{quiet}");
        }
        let both = read("[api]\nurl = https://x\nskipverifycert = on\ncacert = /ca.pem\n").unwrap_err().to_string();
        assert!(both.contains("api.skipverifycert: is on, so cacert would not be used"), "{both}");
    }

    #[test]
    fn the_originals_file_is_read() {
        let migrc = read(
            "[api]\nurl = \"http://localhost:12345/api/v1/\"\nskipverifycert = on\n[gpg]\nhome = \"/home/u/.gnupg/\"\n\
            keyid = \"AB\"\n[targets]\nmacro = allonline:status='online'\nmacro = \"linux:queueloc LIKE 'linux.%'\"\n",
        )
        .unwrap();
        assert_eq!(migrc.api_url.as_deref(), Some("http://localhost:12345/api/v1"));
        assert!(migrc.skip_verify_certificate);
        assert_eq!(migrc.target("linux"), "queueloc LIKE 'linux.%'");
        assert_eq!(migrc.target("mode='daemon'"), "mode='daemon'");
        assert_eq!(migrc.macro_names(), "allonline, linux");
    }

    #[test]
    fn the_sample_is_read() {
        let migrc = read(include_str!("../../conf/migrc.inc")).unwrap();
        assert_eq!(migrc.api_url.as_deref(), Some("https://mig.example.net/api/v1"));
        assert!(migrc.has_key() && migrc.target("databases") == "tags->>'role' = 'db'");
    }

    #[test]
    fn addresses_are_checked() {
        let url = |text: &str| read(&format!("[api]\nurl = \"{text}\"")).map(|migrc| migrc.api_url.unwrap());
        assert_eq!(url("https://mig.example.net").unwrap(), "https://mig.example.net/api/v1");
        assert_eq!(url("https://mig.example.net:8443/mig/").unwrap(), "https://mig.example.net:8443/mig");
        assert!(url("mig.example.net").unwrap_err().contains("api.url: 'mig.example.net' is not an address"));
        assert!(url("ftp://mig").unwrap_err().contains("does not begin with https://"));
        assert!(read("[targets]\nmacro = x").unwrap_err().contains("'x' is not NAME:TARGET"));
    }
}
