//! An HTTP proxy through which the agent may reach its relay: `agent.proxies`, or `HTTPS_PROXY` and `HTTP_PROXY`.

use super::{Secret, authority};
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use std::fmt;
use url::{Host, Url};

/// A proxy for CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Name or address.
    pub host: String,
    /// Its port; 3128 if none was named.
    pub port: u16,
    /// For Basic authentication.
    pub user: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
}

impl Proxy {
    /// Reads `host`, `host:port` or `http://user:password@host:port/`. Parts of an URL are percent-encoded.
    pub fn parse(text: &str) -> Result<Proxy, String> {
        // It may contain a password, so no error repeats it.
        let example = "such as proxy.example.net:3128 or http://user:password@proxy.example.net:3128";
        let url = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&url).map_err(|e| format!("is not a proxy {example}: {e}"))?;
        let wrong = [
            (url.scheme() != "http", "only http:// is supported"),
            (url.host_str().is_none_or(str::is_empty), "it has no host"),
            (url.port() == Some(0), "its port is 0"),
            (!["", "/"].contains(&url.path()) || url.query().or(url.fragment()).is_some(), "a path is behind its port"),
            (url.username().is_empty() && url.password().is_some(), "it has a password without a user"),
        ];
        if let Some((_, reason)) = wrong.into_iter().find(|(is_wrong, _)| *is_wrong) {
            return Err(format!("is not a proxy {example}: {reason}"));
        }
        let decoded = |text: &str| match percent_decode_str(text).decode_utf8() {
            // It ends up in the header of a request.
            Ok(text) if !text.chars().any(char::is_control) => Ok(text.into_owned()),
            _ => Err(format!("is not a proxy {example}: user or password is not text")),
        };
        let user = decoded(url.username())?;
        if user.contains(':') {
            return Err(format!("is not a proxy {example}: Basic authentication has no colon in a user's name"));
        }
        let host = match url.host() {
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => url.host_str().unwrap_or_default().to_owned(),
        };
        // Port 80 is the URL's own default, and is not seen in it.
        let named = text.trim_end_matches('/').rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        Ok(Proxy {
            host,
            port: url.port().or(named).unwrap_or(3128),
            user: Some(user).filter(|user| !user.is_empty()),
            password: url.password().map(decoded).transpose()?.map(Secret::new),
        })
    }

    /// The text that [`Proxy::parse`] reads: with the password.
    pub fn to_url(&self) -> Secret {
        let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
        let password = self.password.as_ref().map_or_else(String::new, |text| format!(":{}", encoded(text.expose())));
        let user = self.user.as_ref().map_or_else(String::new, |user| format!("{}{password}@", encoded(user)));
        Secret::new(format!("http://{user}{self}"))
    }

    /// Reads a list, separated by commas or white space.
    pub fn parse_list(text: &str) -> Result<Vec<Proxy>, String> {
        let words = text.split([',', ' ', '\t', '\n']).map(str::trim).filter(|word| !word.is_empty());
        let numbered = words.enumerate().map(|(index, word)| (index + 1, word));
        numbered
            .map(|(number, word)| Proxy::parse(word).map_err(|e| format!("the proxy number {number} {e}")))
            .collect()
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&authority(&self.host, self.port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_hosts_or_urls() {
        for (text, shown, user, password) in [
            ("proxy.example.net:8080", "proxy.example.net:8080", None, None),
            ("proxy.example.net", "proxy.example.net:3128", None, None),
            ("http://proxy.example.net:80/", "proxy.example.net:80", None, None),
            ("proxy.example.net:080", "proxy.example.net:80", None, None),
            ("192.0.2.1:3128", "192.0.2.1:3128", None, None),
            ("http://[2001:db8::1]:3128", "[2001:db8::1]:3128", None, None),
            ("http://u:p%40%3As@h:1", "h:1", Some("u"), Some("p@:s")),
            ("u:tiger@h:1", "h:1", Some("u"), Some("tiger")),
            ("u@h:1", "h:1", Some("u"), None),
        ] {
            let proxy = Proxy::parse(text).unwrap();
            let found = (proxy.user.as_deref(), proxy.password.as_ref().map(Secret::expose));
            assert_eq!((proxy.to_string().as_str(), found), (shown, (user, password)), "{text}");
            assert!(password.is_none_or(|password| !format!("{proxy:?} {proxy}").contains(password)));
            assert_eq!(Proxy::parse(proxy.to_url().expose()), Ok(proxy), "{text}");
        }
    }

    #[test]
    fn what_is_no_proxy_is_refused_without_its_password() {
        for text in [
            "",
            "http://",
            "https://u:secret@h:1",
            "socks5://u:secret@h:1",
            "http://u:secret@h:0",
            "http://u:secret@h:99999",
            "http://u:secret@h:1/path",
            "http://u:secret@h:1?x",
            "http://:secret@h:1",
            "http://u:secret%0d%0aX@h:1",
            "http://u%3a:secret@h:1",
            "http://u:secret%ff@h:1",
        ] {
            let error = Proxy::parse(text).expect_err(text);
            assert!(!error.contains("secret"), "{text}: {error}");
        }
        assert_eq!(Proxy::parse_list(" a:1, b:2\n").unwrap().len(), 2);
        assert!(Proxy::parse_list("a:1, b:0").unwrap_err().starts_with("the proxy number 2 is not a proxy"));
    }
}
