//! The options: `-path tests.json -onlytrue`.

use crate::modules::form::{Flag, Form, Group, Shape};

/// See the module docs.
pub(super) const FORM: Form = Form {
    name: "scribe",
    about: "runs a document of tests over files, contents and versions of packages",
    usage: "-path <file> [options]",
    groups: &[Group {
        title: "Options:",
        flags: &[
            Flag::text("path", "<file>", "path", "the document, in JSON; it becomes a part of the action"),
            Flag::switch("onlytrue", "onlytrue", "report only tests that are true"),
            Flag::switch("human", "humanoutput", "print results in several lines"),
            Flag::switch("json", "jsonoutput", "print results as JSON, one in each line"),
        ],
    }],
    details: "\
A document has objects, which collect values from the machine, and tests, which compare them:

  {\"objects\": [{\"object\": \"ssl\", \"package\": {\"name\": \"openssl\"}}],
   \"tests\": [{\"test\": \"old ssl\", \"object\": \"ssl\", \"evr\": {\"operation\": \"<\", \"value\": \"3.0.11-1\"}}]}

A test is true if one of the values is, and all tests of its \"if\" are. Contents of files are never returned.
",
    shape: Shape::Fields,
    preset: &[],
};
