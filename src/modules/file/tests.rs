//! Tests of the module.

mod attributes;
mod contents;
mod doubts;
mod filters;
mod forms;
mod limited;
mod lines;
mod links;
mod parameters;
mod paths;
mod proc;
mod walking;

use super::File;
use crate::modules::{Context, Module, ModuleResult};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;
use tempfile::TempDir;

/// A directory with files in it.
struct Tree(TempDir);

impl Tree {
    /// Creates files by path and contents; a path that ends in `/` is a directory.
    fn new(files: &[(&str, &[u8])]) -> Self {
        let tree = Tree(TempDir::new().unwrap());
        for (path, contents) in files {
            tree.write(path, contents);
        }
        tree
    }

    fn write(&self, path: &str, contents: &[u8]) {
        let full = self.0.path().join(path);
        if path.ends_with('/') {
            return fs::create_dir_all(full).unwrap();
        }
        fs::create_dir_all(full.parent().unwrap()).unwrap();
        fs::write(full, contents).unwrap();
    }

    fn link(&self, target: &str, path: &str) {
        std::os::unix::fs::symlink(target, self.0.path().join(path)).unwrap();
    }

    /// Returns the absolute path of `path`.
    fn at(&self, path: &str) -> String {
        self.0.path().join(path).to_str().unwrap().to_owned()
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Runs one search, `all` is its `matchall`, and returns the files that it found, relative to the tree.
    fn find(&self, all: bool, mut search: Value) -> Vec<String> {
        if search.get("paths").is_none() {
            search["paths"] = json!([self.at("")]);
        }
        search["options"]["matchall"] = json!(all);
        self.files(&run(&json!({"searches": {"s1": search}})), "s1")
    }

    /// Returns the files of a search in a result, relative to the tree.
    fn files(&self, result: &ModuleResult, label: &str) -> Vec<String> {
        assert!(result.success, "{result:?}");
        let prefix = format!("{}/", self.at("").trim_end_matches('/'));
        let entries = result.elements[label].as_array().into_iter().flatten();
        let paths = entries.map(|entry| entry["file"].as_str().unwrap()).filter(|path| !path.is_empty());
        paths.map(|path| path.strip_prefix(&prefix).unwrap_or(path).to_owned()).collect()
    }
}

fn context(threads: usize) -> Context<'static> {
    Context { threads, deadline: None, result_bytes_max: 16 << 20, progress: None, network: None, agent: None }
}

fn run(parameters: &Value) -> ModuleResult {
    let one = File.run(parameters, context(1));
    let many = File.run(parameters, context(4));
    assert_eq!(one.elements, many.elements, "the number of threads changed the result");
    assert_eq!(one.errors, many.errors);
    one
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

/// Runs once, with two threads: for results that depend on the order of files.
fn run_once(parameters: &Value) -> ModuleResult {
    File.run(parameters, context(2))
}
