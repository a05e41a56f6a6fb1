//! The command-line form: `-path /etc -name '^passwd$' -content '^root:'`.

use super::filter::FIELDS;
use super::parameters;
use crate::modules::ParameterError;
use crate::modules::form::{refuse, split};
use serde_json::{Map, Value, json};

/// The label of the one search that a command line describes.
const LABEL: &str = "s1";

/// The help text; complete, as there is no other manual on the command line.
pub(super) const HELP: &str = "\
file: looks for files by name, size, mode, time, contents and hash sum

  mig file -path <path> [filters] [options]     (-x and --x are the same; -x=value too)

Where, at least one:
  -path <path>        a directory, searched recursively, or a file; taken literally

Filters, at least one, each as often as needed (-name . is every file):
  -name <regex>       on the file's name without its directory; !<regex>: does not match
  -content <regex>    on each line; !<regex>: no line matches
  -size <size>        <10m (less), >512k (more), 4096 (exactly); k, m, g, t are powers of 1024
  -mode <regex>       on the mode as in -rw-r--r-- ; before the permissions: d directory,
                      L link, D device, Dc character device, p pipe, S socket, u setuid,
                      g setgid, t sticky, - none of them
  -mtime <age>        <90d (changed less than 90 days ago), >5h (longer ago); units d, h, m
  -md5 -sha1 -sha256 -sha384 -sha512 -sha3_224 -sha3_256 -sha3_384 -sha3_512 <hexadecimal>
  -sha2 -sha3 <hexadecimal>   the function of the family that has digests of this length

Options:
  -matchall           a file must pass all filters; of several sums of one kind, any (default)
  -matchany           each filter reports its own files
  -maxdepth <n>       levels of directories, the path itself is 1; 0: all (default)
  -matchlimit <n>     maximum number of files reported; 0: 1000 (default)
  -maxerrors <n>      maximum number of errors reported (default 30); 0: all
  -macroal            every line must match every -content
  -mismatch <filter>  inverts the filter: name, content, size, mode, mtime, md5, sha1, sha2, sha3
  -returnsha256       report the SHA-256 of every file that could be read to its end
  -decompress         search inside gzip files: contents and sums are those of the unpacked data
  -remotefs           enter network mounts (default: no)

Regular expressions are RE2's, as in Go: no back-references, no look-around; \\w, \\d, \\s and \\b are
ASCII, and . is one UTF-8 character, or one byte where a file is not UTF-8. The compiled form must
fit in 4 MiB. To match a name or content that begins with !, write \\!.

Lines end in \\n or \\r\\n. NUL-separated text (/proc/<pid>/environ) is matched both as one line and
part by part. A byte order mark is not part of the text; text with a UTF-16 mark is also matched
decoded. UTF-16 without a mark is matched as bytes only, with \\x00 among them.

Symbolic links to files are followed, to directories only when they are a -path; links below /proc
lead to deleted and foreign files too. Contents and sums are of regular files only. Files whose data
reading would consume (/proc/kmsg, trace_pipe) are not read, and the result says so.

A search that cannot mean what was intended is not run, and the result says why: an unknown key, no
filter, a wildcard in a path that does not exist literally, a slash in an expression on names.

When a limit is reached (time, bytes, count), the matches so far are reported; then the errors begin
with 'partial', and a search without a match reports no entry rather than an empty one.

Examples:
  mig file -path /etc -name '^passwd$' -content '^root:'
  mig file -path /usr/bin -path /usr/sbin -mode '^-?u' -mtime '<30d'
  mig file -path /home -name '^authorized_keys$' -content '!^from=' -maxdepth 3
  mig file -path /var/www -matchany -content 'eval\\(base64_decode' -name '\\.php[0-9]$'
  mig file -path / -size '<5m' -sha256 73b0d95541c84965fa42c3e257bb349957b3be626dec9d55efcc6ebcba6fa489
";

/// Converts arguments into parameters and checks them.
pub(super) fn parse(arguments: &[String]) -> Result<Value, ParameterError> {
    let mut search: Map<String, Value> = Map::new();
    let mut options: Map<String, Value> = Map::new();
    options.insert("matchall".to_owned(), json!(true));
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        let (flag, inline) = split(argument)?;
        let field = if flag == "path" { Some("paths") } else { field_of(flag) };
        let mut value = || {
            let value = inline.or_else(|| rest.next().map(String::as_str));
            value.ok_or_else(|| refuse(flag, "needs a value"))
        };
        if let Some(field) = field {
            push(&mut search, field, value()?);
            continue;
        }
        match flag {
            "mismatch" => push(&mut options, flag, value()?),
            "maxdepth" | "matchlimit" | "maxerrors" => {
                let number: u64 = value()?.parse().map_err(|_| refuse(flag, "must be a whole number"))?;
                options.insert(flag.to_owned(), json!(number));
            }
            "matchall" | "matchany" | "macroal" | "returnsha256" | "decompress" | "remotefs" => {
                let set = match inline {
                    None | Some("true") => true,
                    Some("false") => false,
                    Some(_) => return Err(refuse(flag, "must be true or false")),
                };
                let (name, set) = if flag == "matchany" { ("matchall", !set) } else { (flag, set) };
                options.insert(name.to_owned(), json!(set));
            }
            _ => return Err(refuse(flag, "is not an option of the module file")),
        }
    }
    if !search.contains_key("paths") {
        return Err(refuse("path", "is required at least once"));
    }
    search.insert("options".to_owned(), Value::Object(options));
    let parameters = json!({"searches": {LABEL: search}});
    parameters::parse(&parameters)?;
    Ok(parameters)
}

fn field_of(flag: &str) -> Option<&'static str> {
    FIELDS.iter().find(|(_, _, singular)| *singular == flag).map(|(_, plural, _)| *plural)
}

fn push(object: &mut Map<String, Value>, name: &str, value: &str) {
    if let Value::Array(values) = object.entry(name).or_insert_with(|| json!([])) {
        values.push(json!(value));
    }
}
