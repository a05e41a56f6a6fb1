//! One operation of every module that looks and changes nothing, for an action that any machine can answer.

use serde_json::{Value, json};
use std::net::TcpListener;
use std::path::Path;

/// Modules that change something.
const CHANGING: [&str; 2] = ["agentdestroy", "upgrade"];

/// The operations, the listener that one of them connects to, and what surely finds something.
pub struct EveryModule {
    /// In the order of their names.
    pub operations: Vec<Value>,
    listener: TcpListener,
}

/// What finds something on any machine.
const FINDING: [&str; 10] =
    ["connected", "file", "netstat", "ping", "pkg", "process", "scribe", "service", "user", "yara"];

impl EveryModule {
    /// Of a tree with a file called `needle`.
    pub fn new(tree: &Path) -> EveryModule {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let by_name = |name: &str| json!({"searches": {"s": {"names": [name], "options": {"matchlimit": 5}}}});
        let dpkg = json!({"objects": [{"object": "dpkg", "package": {"name": "dpkg"}}],
            "tests": [{"test": "dpkg", "object": "dpkg", "evr": {"operation": ">", "value": "1.0"}}]});
        let parameters = |module: &str| match module {
            "connected" => json!({"c": ["127.0.0.1"]}),
            "file" => json!({"searches": {"s": {"paths": [tree], "names": ["^needle$"]}}}),
            "kernelmodule" | "process" => by_name("."),
            "memory" => by_name("^no program has this name$"),
            "netstat" => json!({"localip": ["127.0.0.0/8"], "listeningport": [port.to_string()]}),
            "ping" => json!({"destination": "127.0.0.1", "destinationport": port, "protocol": "tcp", "count": 1}),
            "pkg" => json!({"pkgmatch": {"matches": ["^dpkg$"]}}),
            "scribe" => json!({"scribedoc": dpkg}),
            "service" => by_name("."),
            "sshkey" => json!({"paths": [tree]}),
            "timedrift" => json!({}),
            "user" => by_name("^root$"),
            "yara" => {
                json!({"yara": "rule any { condition: true }", "filesearch": format!("-path '{}' -name .", tree.display())})
            }
            other => panic!("add parameters for {other}"),
        };
        let modules = mig::modules::all().iter().map(|module| module.name()).filter(|name| !CHANGING.contains(name));
        let operations = modules.map(|name| json!({"module": name, "parameters": parameters(name)})).collect();
        EveryModule { operations, listener }
    }

    /// A connection, for those that look for one, while the action runs.
    pub fn connect(&self) -> std::net::TcpStream {
        std::net::TcpStream::connect(self.listener.local_addr().unwrap()).unwrap()
    }

    /// Every operation has a result of its own, and those that find something on any machine have found it.
    pub fn assert_answered(&self, results: &Value) {
        let results = results.as_array().unwrap();
        assert_eq!(results.len(), self.operations.len());
        for (operation, result) in self.operations.iter().zip(results) {
            let module = operation["module"].as_str().unwrap();
            assert_eq!(result["success"], true, "{module}: {result}");
            assert!(!FINDING.contains(&module) || result["foundanything"] == true, "{module}: {result}");
            assert!(result["statistics"]["exectime"].is_string(), "{module}: {result}");
        }
    }
}
