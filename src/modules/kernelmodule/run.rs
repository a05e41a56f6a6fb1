//! Reads what the kernel lists, and compares it.

use super::parameters::Search;
use crate::modules::fields::{Judged, checks, judged};
use crate::modules::files;
use crate::modules::report::Report;
use crate::modules::{Context, ModuleResult};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

/// Bytes of `/proc/modules` and `modules.dep`: some ten times those of a distribution's kernel.
const LIST_BYTES_MAX: u64 = 16 << 20;
/// Bytes of one file below `/sys/module`: a page.
const ATTRIBUTE_BYTES_MAX: u64 = 4 << 10;

/// Where the lists are.
pub(super) struct Machine {
    /// `/proc/modules`.
    pub(super) list: PathBuf,
    /// `/sys/module`.
    pub(super) attributes: PathBuf,
    /// `/lib/modules/<release>`.
    pub(super) files: PathBuf,
}

impl Default for Machine {
    fn default() -> Machine {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        Machine {
            list: "/proc/modules".into(),
            attributes: "/sys/module".into(),
            files: Path::new("/lib/modules").join(release),
        }
    }
}

/// One module.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Loaded {
    size_bytes: u64,
    used_by: Vec<String>,
    state: String,
    taints: String,
    is_hidden: bool,
}

/// `/proc/modules`.
#[derive(Debug, Default)]
struct List {
    modules: BTreeMap<String, Loaded>,
    /// Lines that are not understood: their numbers and first words.
    broken: Vec<(usize, String)>,
}

/// `/sys/module`.
#[derive(Debug, Default)]
struct Attributes {
    modules: BTreeMap<String, Loaded>,
    /// The directory could be opened.
    is_readable: bool,
    /// What could not be read.
    errors: Vec<String>,
}

/// Runs searches on a machine.
pub(super) fn run(searches: &[Search], machine: &Machine, context: Context) -> ModuleResult {
    let mut report = Report::new(context, searches.iter().map(|search| &search.label));
    let modules = machine.modules(&mut report);
    let files = machine.read_files().unwrap_or_else(|error| {
        let about_files = searches.iter().filter(|search| !search.files.is_empty());
        report.unseen_of(about_files.map(|search| search.label.clone()), error);
        None
    });
    let mut examined = 0;
    for (name, module) in &modules {
        if report.is_over() {
            break;
        }
        examined += 1;
        let file = files.as_ref().map(|files| files.get(name).map_or("", String::as_str));
        for search in searches {
            let known = [checks("names", &search.names, &[name]), checks("taints", &search.taints, &[&module.taints])];
            let known = known.concat().into_iter().map(|(field, text, is_met)| (field, text, Some(is_met)));
            let on_file = search
                .files
                .iter()
                .map(|pattern| ("files", pattern.text.as_str(), file.map(|file| pattern.is_met_by(file.as_bytes()))));
            // Those that depend on an unknown file are not seen, which is said above.
            let Judged::Is(passed) = judged(known.chain(on_file), search.options) else { continue };
            let mut element = json!({
                "name": name, "size": module.size_bytes, "usedby": module.used_by, "state": module.state,
                "taints": module.taints, "search": passed,
            });
            if let Some(file) = file {
                element["file"] = json!(file);
            }
            if module.is_hidden {
                element["hidden"] = json!(true);
            }
            report.add_within(&search.label, search.options.matchlimit, element);
        }
    }
    report.finish(&json!({"examined": examined}))
}

impl Machine {
    /// All modules of both lists, by name. What comes or goes between two looks is in both lists, or in neither, at a second one.
    fn modules(&self, report: &mut Report) -> BTreeMap<String, Loaded> {
        let first = self.read_list();
        let Attributes { mut modules, is_readable, mut errors } = self.read_attributes();
        // A kernel that cannot load modules has no list.
        let has_none = first.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) && modules.is_empty();
        let is_same = |list: &List| list.modules.keys().eq(modules.keys());
        let listed = if first.as_ref().is_ok_and(is_same) { first } else { self.read_list() };
        match listed {
            // They are not hidden: there is nothing to compare them with.
            Err(error) if !has_none => errors.push(format!("read {}: {error}", self.list.display())),
            Err(_) => {}
            Ok(list) => {
                let numbers: Vec<usize> = list.broken.iter().map(|(number, _)| *number).collect();
                if let Some(lines) = files::line_numbers(&numbers) {
                    errors.push(format!("read {}: {lines}: not understood", self.list.display()));
                }
                // The first word of a line is the name, whatever the rest is.
                let is_named = |name: &String| {
                    list.modules.contains_key(name) || list.broken.iter().any(|(_, broken)| broken == name)
                };
                modules.retain(|name, module| {
                    module.is_hidden = !is_named(name);
                    // Or it was unloaded.
                    !module.is_hidden || self.is_loaded(name, &mut errors)
                });
                let unmatched: Vec<&String> =
                    list.modules.keys().filter(|name| is_readable && !modules.contains_key(*name)).collect();
                let missing: BTreeSet<String> =
                    unmatched.into_iter().filter(|name| !self.is_loaded(name, &mut errors)).cloned().collect();
                let again = if missing.is_empty() { Ok(List::default()) } else { self.read_list() };
                let again = again.unwrap_or_else(|error| {
                    errors.push(format!("read {}: {error}", self.list.display()));
                    List::default()
                });
                for (name, module) in list.modules {
                    let is_hidden = missing.contains(&name);
                    if !is_hidden || again.modules.contains_key(&name) {
                        modules.insert(name, Loaded { is_hidden, ..module });
                    }
                }
            }
        }
        for error in errors {
            report.unseen(error);
        }
        modules
    }

    fn read_list(&self) -> io::Result<List> {
        let mut list = List::default();
        for (number, line) in files::lines(&files::read_whole(&self.list, LIST_BYTES_MAX)?) {
            match parse_line(&line) {
                _ if line.is_empty() => {}
                Some((name, module)) => drop(list.modules.insert(name, module)),
                None => list.broken.push((number, line.split(' ').next().unwrap_or_default().to_owned())),
            }
        }
        Ok(list)
    }

    /// What has a state below `/sys/module`: the rest is built in.
    fn read_attributes(&self) -> Attributes {
        let mut found = Attributes::default();
        let entries = match std::fs::read_dir(&self.attributes) {
            Ok(entries) => entries,
            Err(error) => {
                found.errors.push(format!("read {}: {error}", self.attributes.display()));
                return found;
            }
        };
        found.is_readable = true;
        for entry in entries {
            match entry {
                Ok(entry) => self.read_module(&entry.file_name().to_string_lossy(), &mut found),
                Err(error) => found.errors.push(format!("list {}: {error}", self.attributes.display())),
            }
        }
        found
    }

    fn read_module(&self, name: &str, found: &mut Attributes) {
        let Attributes { modules, errors, .. } = found;
        let mut text = |attribute| match self.attribute(name, attribute) {
            Ok(text) => text,
            Err(error) => {
                errors.push(error);
                None
            }
        };
        let Some(state) = text("initstate") else { return };
        let state = if state == "live" { "Live".to_owned() } else { state };
        let size_bytes = text("coresize").and_then(|size| size.parse().ok()).unwrap_or(0);
        let taints = text("taint").unwrap_or_default();
        modules.insert(name.to_owned(), Loaded { size_bytes, state, taints, ..Loaded::default() });
    }

    /// Whether a module has a state below `/sys/module` now. What cannot be read may be one.
    fn is_loaded(&self, name: &str, errors: &mut Vec<String>) -> bool {
        match self.attribute(name, "initstate") {
            Ok(state) => state.is_some(),
            Err(error) => {
                errors.push(error);
                true
            }
        }
    }

    /// None: there is no such file.
    fn attribute(&self, module: &str, name: &str) -> Result<Option<String>, String> {
        let path = self.attributes.join(module).join(name);
        match files::read_whole(&path, ATTRIBUTE_BYTES_MAX) {
            Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).trim().to_owned())),
            // It was removed while it was open.
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error()) => Ok(None),
            Err(error) if files::is_missing(&error) => Ok(None),
            Err(error) => Err(format!("read {}: {error}", path.display())),
        }
    }

    /// The files of modules by the names that the kernel has for them.
    fn read_files(&self) -> Result<Option<BTreeMap<String, String>>, String> {
        let path = self.files.join("modules.dep");
        let text = files::read_whole(&path, LIST_BYTES_MAX);
        let text =
            text.map_err(|error| format!("read {}: {error}: the files of modules are unknown", path.display()))?;
        let text = String::from_utf8_lossy(&text);
        let file = |line: &str| {
            let path = line.split_once(':')?.0;
            let name = path.rsplit('/').next()?.split(".ko").next()?.replace('-', "_");
            Some((name, self.files.join(path).to_string_lossy().into_owned()))
        };
        Ok(Some(text.lines().filter_map(file).collect()))
    }
}

/// Reads `nf_tables 380928 257 nft_ct,nft_nat, Live 0x0000000000000000 (OE)`.
fn parse_line(line: &str) -> Option<(String, Loaded)> {
    let mut fields = line.split_ascii_whitespace();
    let (name, size, _count, used_by, state) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    let taints = fields.nth(1).unwrap_or_default().trim_matches(['(', ')', '+', '-']);
    let used_by = used_by.split(',').filter(|name| !name.is_empty() && *name != "-").map(str::to_owned).collect();
    let module = Loaded {
        size_bytes: size.parse().ok()?,
        used_by,
        state: state.to_owned(),
        taints: taints.to_owned(),
        is_hidden: false,
    };
    Some((name.to_owned(), module))
}

#[cfg(test)]
mod tests {
    use super::super::KernelModule;
    use super::*;
    use crate::modules::Module;
    use serde_json::Value;
    use std::fs;

    /// A machine with two modules, of which one is hidden, and something built in.
    fn machine(directory: &Path) -> Machine {
        let machine = Machine {
            list: directory.join("modules"),
            attributes: directory.join("sys"),
            files: directory.join("lib"),
        };
        fs::write(&machine.list, "nf_nat 45056 2 nft_nat,nf_tables, Live 0x0\nbad_one 16384 0 - Live 0x0 (OE)\n")
            .unwrap();
        for (name, state) in
            [("nf_nat", Some("live")), ("bad_one", Some("live")), ("rootkit", Some("live")), ("tcp", None)]
        {
            fs::create_dir_all(machine.attributes.join(name)).unwrap();
            if let Some(state) = state {
                fs::write(machine.attributes.join(name).join("initstate"), format!("{state}\n")).unwrap();
            }
        }
        fs::create_dir(&machine.files).unwrap();
        fs::write(machine.files.join("modules.dep"), "kernel/net/nf-nat.ko.xz: kernel/a.ko\nkernel/a.ko:\n").unwrap();
        machine
    }

    fn search(machine: &Machine, line: &str) -> ModuleResult {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let parameters = KernelModule.parse_arguments(&words).unwrap();
        run(&super::super::parameters::parse(&parameters).unwrap(), machine, Context::by_hand())
    }

    fn names(result: &ModuleResult) -> Vec<&str> {
        result.elements["s1"].as_array().unwrap().iter().map(|element| element["name"].as_str().unwrap()).collect()
    }

    #[test]
    fn modules_are_found_by_name_taint_and_file_and_hidden_ones_too() {
        let directory = tempfile::tempdir().unwrap();
        let machine = machine(directory.path());
        let result = search(&machine, "-name .");
        assert_eq!(names(&result), ["bad_one", "nf_nat", "rootkit"]);
        let [bad, nat, rootkit] = &result.elements["s1"].as_array().unwrap()[..] else { panic!("{result:?}") };
        assert_eq!((&bad["taints"], &bad["size"], bad.get("hidden")), (&json!("OE"), &json!(16384), None));
        assert_eq!(nat["usedby"], json!(["nft_nat", "nf_tables"]));
        assert_eq!(nat["file"], json!(machine.files.join("kernel/net/nf-nat.ko.xz")));
        assert_eq!((&rootkit["hidden"], &rootkit["state"]), (&json!(true), &json!("Live")));
        assert_eq!(names(&search(&machine, "-taint E")), ["bad_one"]);
        assert_eq!(names(&search(&machine, "-name ^nf -file ^$")), [""; 0]);
        assert_eq!(names(&search(&machine, "-name ^nf -file ^$ -matchany")), ["bad_one", "nf_nat", "rootkit"]);
        let result = search(&machine, "-name . -matchlimit 1");
        assert_eq!(names(&result), ["bad_one"]);
        assert_eq!(result.errors.as_ref().unwrap(), &["partial: search s1: stopped at its matchlimit of 1"]);
        let line = KernelModule.print(&search(&machine, "-name rootkit")).remove(0);
        assert_eq!(line, "rootkit [state:Live, taints:, file:, hidden] in search 's1'");
    }

    #[test]
    fn a_module_that_is_missing_below_sys_is_hidden() {
        let directory = tempfile::tempdir().unwrap();
        let machine = machine(directory.path());
        let hidden = |name: &str| search(&machine, &format!("-name ^{name}$")).elements["s1"][0].get("hidden").cloned();
        assert_eq!(hidden("bad_one"), None);
        fs::remove_file(machine.attributes.join("bad_one/initstate")).unwrap();
        assert_eq!((hidden("bad_one"), hidden("nf_nat")), (Some(json!(true)), None));
        fs::remove_dir(machine.attributes.join("bad_one")).unwrap();
        assert_eq!((hidden("bad_one"), hidden("nf_nat")), (Some(json!(true)), None));
        fs::remove_dir_all(&machine.attributes).unwrap();
        let result = search(&machine, "-name bad_one");
        assert_eq!(result.elements["s1"][0].get("hidden"), None, "there is nothing to compare with");
        assert_eq!(result.statistics["partial"], json!(true));
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let machine = machine(directory.path());
        let partial = |error: &str| {
            let result = search(&machine, "-name ^none$");
            assert_eq!((&result.elements, &result.statistics["partial"]), (&json!({}), &json!(true)), "{error}");
            let errors = result.errors.unwrap();
            assert!(errors.len() == 1 && errors[0].contains(error), "{errors:?}");
        };
        let list = fs::read_to_string(&machine.list).unwrap();
        fs::write(&machine.list, format!("rootkit x 0 - Live 0x0\n{list}")).unwrap();
        partial("modules: line 1: not understood");
        let result = search(&machine, "-name rootkit");
        assert_eq!(result.elements["s1"][0].get("hidden"), None, "it is listed");
        fs::write(&machine.list, list).unwrap();
        fs::remove_file(machine.attributes.join("rootkit/initstate")).unwrap();
        fs::create_dir(machine.attributes.join("rootkit/initstate")).unwrap();
        partial("sys/rootkit/initstate: it is not a regular file");
    }

    #[test]
    fn a_list_that_cannot_be_read_is_no_machine_without_modules() {
        let directory = tempfile::tempdir().unwrap();
        let machine = machine(directory.path());
        fs::remove_file(&machine.list).unwrap();
        fs::create_dir(&machine.list).unwrap();
        let result = search(&machine, "-name nothing");
        assert!(result.success && !result.foundanything);
        assert_eq!((&result.elements, &result.statistics["partial"]), (&json!({}), &json!(true)));
        assert!(result.errors.unwrap()[0].starts_with("read "));
        let result = search(&machine, "-name rootkit");
        assert_eq!((names(&result), result.elements["s1"][0].get("hidden")), (vec!["rootkit"], None));
    }

    #[test]
    fn without_a_list_of_files_no_module_is_one_without_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let machine = machine(directory.path());
        fs::remove_file(machine.files.join("modules.dep")).unwrap();
        for line in ["-name . -file ^$", "-file evil"] {
            let result = search(&machine, line);
            assert_eq!((&result.elements, &result.statistics["partial"]), (&json!({}), &json!(true)), "{line}");
            assert!(result.errors.unwrap()[0].contains("the files of modules are unknown"));
        }
        assert_eq!(names(&search(&machine, "-name rootkit")), ["rootkit"]);
        assert_eq!(names(&search(&machine, "-name rootkit -file evil -matchany")), ["rootkit"]);
    }

    #[test]
    fn a_kernel_that_cannot_load_modules_has_none() {
        let directory = tempfile::tempdir().unwrap();
        let machine = machine(directory.path());
        fs::remove_file(&machine.list).unwrap();
        for name in ["nf_nat", "bad_one", "rootkit"] {
            fs::remove_dir_all(machine.attributes.join(name)).unwrap();
        }
        let result = search(&machine, "-name .");
        assert_eq!(
            (&result.elements, result.statistics.get("partial"), &result.errors),
            (&json!({"s1": []}), None, &None)
        );
    }

    #[test]
    fn this_machine_is_read() {
        let parameters = KernelModule.parse_arguments(&["-name".into(), ".".into()]).unwrap();
        let result = KernelModule.run(&parameters, Context::by_hand());
        let found: Vec<&Value> = result.elements["s1"].as_array().unwrap().iter().collect();
        assert_eq!((result.success, result.statistics.get("partial")), (true, None), "{result:?}");
        let Ok(listed) = fs::read_to_string("/proc/modules") else {
            assert_eq!(found, [&Value::Null; 0], "a kernel that cannot load modules has none");
            return;
        };
        for line in listed.lines() {
            let name = line.split(' ').next().unwrap();
            assert!(found.iter().any(|element| element["name"] == name), "{name}");
        }
    }
}
