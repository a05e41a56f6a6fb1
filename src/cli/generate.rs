//! Completion for bash, zsh and fish, and manual pages, made of a program's definitions: `PROGRAM --generate KIND`.

use super::describe::{Described, Flag};
use super::print;
use crate::error::{ExitClass, ProgramError};
use std::fmt::Write;

/// The option that prints them; it is for those who build packages, and not in `--help`.
pub const OPTION: &str = "--generate";

/// Prints one kind.
pub fn run(program: &Described, kind: Option<&String>) -> Result<(), ProgramError> {
    let text = match kind.map(String::as_str) {
        Some("bash") => bash(program),
        Some("zsh") => zsh(program),
        Some("fish") => fish(program),
        Some("man") => man(program),
        _ => return Err(ProgramError::new(ExitClass::Usage, format!("{OPTION} takes bash, zsh, fish or man"))),
    };
    print(&text);
    Ok(())
}

/// A name for functions of shells.
fn identifier(program: &Described) -> String {
    format!("_{}", program.name.replace(|c: char| !c.is_ascii_alphanumeric(), "_"))
}

fn words(flags: &[Flag]) -> String {
    flags.iter().flat_map(Flag::words).collect::<Vec<_>>().join(" ")
}

fn verb_words(program: &Described) -> String {
    program.verbs.iter().map(Described::word).collect::<Vec<_>>().join(" ")
}

/// What completes the value of an option.
#[derive(PartialEq, Eq)]
enum Completes<'a> {
    File,
    Directory,
    Words(Vec<&'a str>),
    Anything,
}

fn completes(flag: &Flag) -> Completes<'_> {
    let value = flag.values.first().map_or("", String::as_str);
    match value {
        "FILE" | "ACTION" | "COMMAND" | "CFG" | "MIGRC" | "KEY" | "SIGNED" => Completes::File,
        "DIR" => Completes::Directory,
        value if value.contains('|') => Completes::Words(value.split('|').collect()),
        _ => Completes::Anything,
    }
}

fn bash(program: &Described) -> String {
    let mut text = format!(
        "# bash completion for {0}; made by `{0} {OPTION} bash`\n{1}() {{\n    \
        local current=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}} verb=${{COMP_WORDS[1]}}\n    \
        COMPREPLY=()\n",
        program.name,
        identifier(program)
    );
    if !program.verbs.is_empty() {
        let _ = write!(
            text,
            "    if [ \"$COMP_CWORD\" -eq 1 ] && [ \"${{current#-}}\" = \"$current\" ]; then\n        \
            mapfile -t COMPREPLY < <(compgen -W \"{}\" -- \"$current\")\n        return\n    fi\n    case \"$verb\" in\n",
            verb_words(program)
        );
        for verb in &program.verbs {
            let _ = writeln!(text, "        {})", verb.word());
            bash_flags(&mut text, &verb.flags(), "            ");
            text.push_str("            return ;;\n");
        }
        text.push_str("    esac\n");
    }
    bash_flags(&mut text, &program.flags(), "    ");
    let _ = write!(text, "}}\ncomplete -o default -F {} {}\n", identifier(program), program.name);
    text
}

fn bash_flags(text: &mut String, flags: &[Flag], indent: &str) {
    let _ = writeln!(text, "{indent}case \"$previous\" in");
    for flag in flags.iter().filter(|flag| !flag.values.is_empty()) {
        let names = flag.words().collect::<Vec<_>>().join("|");
        let action = match completes(flag) {
            Completes::File => "mapfile -t COMPREPLY < <(compgen -f -- \"$current\")".to_owned(),
            Completes::Directory => "mapfile -t COMPREPLY < <(compgen -d -- \"$current\")".to_owned(),
            Completes::Words(words) => {
                format!("mapfile -t COMPREPLY < <(compgen -W \"{}\" -- \"$current\")", words.join(" "))
            }
            Completes::Anything => ":".to_owned(),
        };
        let _ = writeln!(text, "{indent}    {names}) {action}; return ;;");
    }
    let _ = write!(
        text,
        "{indent}esac\n{indent}case \"$current\" in\n{indent}    -*) mapfile -t COMPREPLY < <(compgen -W \"{}\" -- \"$current\") ;;\n{indent}esac\n",
        words(flags)
    );
}

/// A text within single quotes of zsh's `_arguments`.
fn zsh_quoted(text: &str) -> String {
    text.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]").replace(':', "\\:")
}

fn zsh(program: &Described) -> String {
    let name = program.name;
    let mut text = format!("#compdef {name}\n# made by `{name} {OPTION} zsh`\n{}() {{\n", identifier(program));
    if !program.verbs.is_empty() {
        text.push_str("    if (( CURRENT == 2 )); then\n        local -a verbs=(\n");
        for verb in &program.verbs {
            let _ = writeln!(text, "            '{}:{}'", verb.word(), verb.summary().replace('\'', "'\\''"));
        }
        text.push_str("        )\n        _describe verb verbs\n        return\n    fi\n    case $words[2] in\n");
        for verb in &program.verbs {
            let _ = writeln!(text, "        {})", verb.word());
            text.push_str("            shift words; (( CURRENT-- ))\n");
            zsh_flags(&mut text, &verb.flags(), "            ");
            text.push_str("            return ;;\n");
        }
        text.push_str("    esac\n");
    }
    zsh_flags(&mut text, &program.flags(), "    ");
    let _ = write!(text, "}}\n{} \"$@\"\n", identifier(program));
    text
}

fn zsh_flags(text: &mut String, flags: &[Flag], indent: &str) {
    let _ = write!(text, "{indent}_arguments");
    for flag in flags {
        let value = |value: &String| match completes(flag) {
            Completes::File => format!(":{}:_files", zsh_quoted(value)),
            Completes::Directory => format!(":{}:_files -/", zsh_quoted(value)),
            Completes::Words(words) => format!(":value:({})", words.join(" ")),
            Completes::Anything => format!(":{}: ", zsh_quoted(value)),
        };
        let values: String = flag.values.iter().map(value).collect();
        for word in flag.words() {
            let _ = write!(text, " \\\n{indent}    '{word}[{}]{values}'", zsh_quoted(&flag.help));
        }
    }
    let _ = write!(text, " \\\n{indent}    '*:file:_files'\n");
}

fn fish(program: &Described) -> String {
    let name = program.name;
    let mut text = format!("# fish completion for {name}; made by `{name} {OPTION} fish`\n");
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    for verb in &program.verbs {
        let (word, summary) = (verb.word(), quoted(verb.summary()));
        let _ = writeln!(text, "complete -c {name} -n __fish_use_subcommand -f -a {word} -d '{summary}'");
    }
    let mut add = |flags: &[Flag], condition: &str| {
        for flag in flags {
            let _ = write!(text, "complete -c {name}{condition}");
            if let Some(short) = flag.short {
                let _ = write!(text, " -s {short}");
            }
            if let Some(long) = &flag.long {
                let _ = write!(text, " -l {long}");
            }
            match completes(flag) {
                _ if flag.values.is_empty() => {}
                Completes::Words(words) => {
                    let _ = write!(text, " -x -a '{}'", words.join(" "));
                }
                Completes::Anything => text.push_str(" -x"),
                Completes::File | Completes::Directory => text.push_str(" -r"),
            }
            let _ = writeln!(text, " -d '{}'", quoted(&flag.help));
        }
    };
    add(&program.flags(), if program.verbs.is_empty() { "" } else { " -n __fish_use_subcommand" });
    for verb in &program.verbs {
        add(&verb.flags(), &format!(" -n '__fish_seen_subcommand_from {}'", verb.word()));
    }
    text
}

/// A text as roff prints it unchanged.
fn roff(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-");
    let line = |line: &str| if line.starts_with(['.', '\'']) { format!("\\&{line}") } else { line.to_owned() };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

fn man(program: &Described) -> String {
    let name = program.name;
    let section = if program.verbs.is_empty() && name.starts_with("mig-") && !name.contains("action") { 8 } else { 1 };
    let mut text = format!(
        ".TH {} {section} \"\" \"mig {}\"\n.SH NAME\n{} \\- {}\n",
        roff(&name.to_uppercase()),
        super::version(),
        roff(name),
        roff(program.summary())
    );
    let usage: Vec<&str> = program.about.lines().skip(1).skip_while(|line| line.is_empty()).collect();
    let _ = write!(text, ".SH SYNOPSIS\n.nf\n{}\n.fi\n", roff(&usage.join("\n")));
    text.push_str(".SH OPTIONS\n");
    man_flags(&mut text, &program.flags());
    let _ = write!(text, ".SH DESCRIPTION\n.nf\n{}\n.fi\n", roff(program.details));
    for verb in &program.verbs {
        let usage = verb.about.lines().skip(1).collect::<Vec<_>>().join("\n");
        let _ = write!(
            text,
            ".SH {}\n{}\n.PP\n.nf\n{}\n.fi\n",
            roff(&verb.word().to_uppercase()),
            roff(verb.summary()),
            roff(&usage)
        );
        man_flags(&mut text, &verb.flags());
        let _ = write!(text, ".PP\n.nf\n{}\n.fi\n", roff(verb.details));
    }
    text
}

fn man_flags(text: &mut String, flags: &[Flag]) {
    for flag in flags {
        let names = flag.words().map(|word| format!("\\fB{}\\fR", roff(&word))).collect::<Vec<_>>().join(", ");
        let values: String = flag.values.iter().map(|value| format!(" \\fI{}\\fR", roff(value))).collect();
        let _ = write!(text, ".TP\n{names}{values}\n{}\n", roff(&flag.help));
    }
}
