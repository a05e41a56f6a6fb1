//! The options: `-path /etc -name '^passwd$' -content '^root:'`.

use crate::modules::form::{Flag, Form, Group, Shape};

/// See the module docs.
pub(super) const FORM: Form = Form {
    name: "file",
    about: "looks for files by name, size, mode, time, contents and hash sum",
    usage: "-path <path> [filters] [options]",
    groups: &[
        Group {
            title: "Where, at least one path:",
            flags: &[
                Flag::texts("path", "<path>", "paths", "a directory, searched recursively, or a file; taken literally"),
                Flag::texts(
                    "exclude",
                    "<path>",
                    "exclude",
                    "what is not searched: a directory with all below it, or a file",
                ),
                Flag::switch(
                    "glob",
                    "options.glob",
                    "expand *, ?, [a-z], [!a-z] and a whole name ** (any directories) in both",
                ),
            ],
        },
        Group {
            title: "Filters, at least one, each as often as needed (-name . is every file):",
            flags: &[
                Flag::texts(
                    "name",
                    "<regex>",
                    "names",
                    "on the file's name without its directory; !<regex>: does not match",
                ),
                Flag::texts("content", "<regex>", "contents", "on each line; !<regex>: no line matches"),
                Flag::texts(
                    "size",
                    "<size>",
                    "sizes",
                    "<10m (less), >512k (more), 4096 (exactly); k, m, g, t are powers of 1024",
                ),
                Flag::texts(
                    "mode",
                    "<regex>",
                    "modes",
                    "on the mode as in -rw-r--r-- ; before the permissions: u setuid, g setgid,\n\
                     t sticky, D device, Dc character device, p pipe, S socket, L link (with\n\
                     -links), - none of them",
                ),
                Flag::texts(
                    "mtime",
                    "<age>",
                    "mtimes",
                    "<90d (changed less than 90 days ago), >5h (longer ago); units d, h, m",
                ),
                Flag::texts(
                    "ctime",
                    "<age>",
                    "ctimes",
                    "the same of the last change of contents, mode, owner or names",
                ),
                Flag::texts(
                    "birthtime",
                    "<age>",
                    "birthtimes",
                    "the same of the creation; fails where the file system does not store it",
                ),
                Flag::texts("owner", "<user>", "owners", "name in /etc/passwd, or number; of several, any"),
                Flag::texts("group", "<group>", "groups", "name in /etc/group, or number; of several, any"),
                Flag::texts(
                    "xattr",
                    "<regex>",
                    "xattrs",
                    "on each name=value of its extended attributes; !<regex>: none matches",
                ),
                Flag::texts(
                    "capability",
                    "<regex>",
                    "capabilities",
                    "on its capabilities as in cap_net_admin,cap_net_raw+ep ; ! as before",
                ),
                Flag::texts(
                    "target",
                    "<regex>",
                    "targets",
                    "on where a link leads, as it is written there; needs -links; ! as before",
                ),
                Flag::texts("md5", "<hex>", "md5", "the sum of its contents, in hexadecimal; so are the next"),
                Flag::texts("sha1", "<hex>", "sha1", ""),
                Flag::texts("sha2", "<hex>", "sha2", "the function of the family that has digests of this length"),
                Flag::texts("sha256", "<hex>", "sha256", ""),
                Flag::texts("sha384", "<hex>", "sha384", ""),
                Flag::texts("sha512", "<hex>", "sha512", ""),
                Flag::texts("sha3", "<hex>", "sha3", "the function of the family that has digests of this length"),
                Flag::texts("sha3_224", "<hex>", "sha3_224", ""),
                Flag::texts("sha3_256", "<hex>", "sha3_256", ""),
                Flag::texts("sha3_384", "<hex>", "sha3_384", ""),
                Flag::texts("sha3_512", "<hex>", "sha3_512", ""),
            ],
        },
        Group {
            title: "Options:",
            flags: &[
                Flag::matchall("a file must pass all filters; of several sums of one kind, any (default)"),
                Flag::unset("matchany", "options.matchall", "each filter reports its own files"),
                Flag::number(
                    "maxdepth",
                    "options.maxdepth",
                    "levels of directories, the path itself is 1; 0: all (default)",
                ),
                Flag::matchlimit("maximum number of files reported; 0: 1000 (default)"),
                Flag::number(
                    "maxerrors",
                    "options.maxerrors",
                    "maximum number of errors reported (default 30); 0: all",
                ),
                Flag::switch("macroal", "options.macroal", "every line must match every -content"),
                Flag::texts(
                    "mismatch",
                    "<filter>",
                    "options.mismatch",
                    "inverts the filter: name, content, size, mode, mtime, ctime, birthtime, owner,\n\
                     group, xattr, capability, target, md5, sha1, sha2, sha3",
                ),
                Flag::switch(
                    "links",
                    "options.links",
                    "look at symbolic links themselves, dangling ones too, and not at what they lead to",
                ),
                Flag::switch(
                    "returnsha256",
                    "options.returnsha256",
                    "report the SHA-256 of every file that could be read to its end",
                ),
                Flag::switch("returninode", "options.returninode", "report inode and device of every file"),
                Flag::switch("returnowner", "options.returnowner", "report owner and group of every file"),
                Flag::text(
                    "maxtime",
                    "<time>",
                    "options.maxtime",
                    "end the search after this time, as in 30s or 5m, with what it found",
                ),
                Flag::switch(
                    "decompress",
                    "options.decompress",
                    "search inside gzip files: contents and sums are those of the unpacked data",
                ),
                Flag::switch("remotefs", "options.remotefs", "enter network mounts (default: no)"),
            ],
        },
    ],
    details: "\
Regular expressions are RE2's, as in Go: no back-references, no look-around; \\w, \\d, \\s and \\b are
ASCII, and . is one UTF-8 character, or one byte where a file is not UTF-8. The compiled form must
fit in 4 MiB. To match a name or content that begins with !, write \\!.

Lines end in \\n or \\r\\n. NUL-separated text (/proc/<pid>/environ) is matched both as one line and
part by part. A byte order mark is not part of the text; text with a UTF-16 mark is also matched
decoded. UTF-16 without a mark is matched as bytes only, with \\x00 among them.

Symbolic links to files are followed, to directories only when they are a -path; links below /proc
lead to deleted and foreign files too. Contents and sums are of regular files only. Files whose data
reading would consume (/proc/kmsg, trace_pipe) are not read, and the result says so.

With -links all filters are on the link itself, and the result says where it leads: name, mode (L),
size, times, owner and attributes are its own. Everything else is found as without. A link has no
contents, so with -content or a sum no link is found, not by ! either; nothing but a link passes
-target. A -path that is a link to a directory is searched; one that leads to a file or nowhere is
a link like others.

A search that cannot mean what was intended is not run, and the result says why: an unknown key, no
filter, a wildcard in a path that does not exist literally without -glob, an -exclude that leaves
nothing of a -path, a slash in an expression on names, a -mode of links or a -target without -links.

When a limit is reached (time, bytes, count), the matches so far are reported; then the errors begin
with 'partial', and a search without a match reports no entry rather than an empty one.

Examples:
  mig file -path /etc -name '^passwd$' -content '^root:'
  mig file -path /usr/bin -path /usr/sbin -mode '^-?u' -mtime '<30d'
  mig file -path /home -name '^authorized_keys$' -content '!^from=' -maxdepth 3
  mig file -glob -path '/home/*/.ssh' -exclude /home/guest -name 'id_' -owner root
  mig file -path /etc -links -target '^/(tmp|home)/' -returnowner
  mig file -path /usr -capability 'cap_net_raw' -returnowner -maxtime 30s
  mig file -path /var/www -matchany -content 'eval\\(base64_decode' -name '\\.php[0-9]$'
  mig file -path / -size '<5m' -sha256 73b0d95541c84965fa42c3e257bb349957b3be626dec9d55efcc6ebcba6fa489
",
    shape: Shape::Search,
    preset: &[("options.matchall", true)],
};
