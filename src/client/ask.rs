//! Asks for the parameters of a module, one option after the other, with what its form says.

use crate::modules::form::{Flag, Form, Kind};

/// Where answers come from.
pub trait Lines {
    /// Shows a text and reads a line; None when there are no more.
    fn read(&mut self, prompt: &str) -> Option<String>;
    /// Shows a line.
    fn show(&mut self, line: &str);
}

/// The words of a command line with the parameters that were answered. None: it was ended, and nothing is run.
pub fn ask(form: &Form, lines: &mut dyn Lines) -> Option<Vec<String>> {
    lines.show(&format!("{}: {}. An empty line goes on, Ctrl-D ends.", form.name, form.about));
    let mut words = Vec::new();
    for group in form.groups {
        lines.show(group.title);
        for flag in group.flags {
            match flag.kind {
                // It is set without an answer; its opposite is asked for.
                Kind::Switch(set) if form.preset.contains(&(flag.field, set)) => {}
                Kind::Switch(_) => words.extend(ask_whether(flag, lines)?),
                Kind::Text | Kind::File(_) | Kind::Number => {
                    words.extend(ask_value(flag, lines)?.into_iter().flatten())
                }
                Kind::Texts => {
                    while let Some(pair) = ask_value(flag, lines)? {
                        words.extend(pair);
                    }
                }
            }
        }
    }
    Some(words)
}

fn prompt(flag: &Flag) -> String {
    let help = flag.help.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let between = if help.is_empty() { "" } else { "  " };
    format!("  -{} {}{between}{help}: ", flag.name, flag.value).replace("  : ", ": ")
}

/// The option with its value; `Some(None)` for none.
fn ask_value(flag: &Flag, lines: &mut dyn Lines) -> Option<Option<[String; 2]>> {
    let line = lines.read(&prompt(flag))?;
    // Spaces are part of an expression.
    let value = if matches!(flag.kind, Kind::Number) { line.trim() } else { line.trim_end_matches(['\r', '\n']) };
    Some((!value.trim().is_empty()).then(|| [format!("-{}", flag.name), value.to_owned()]))
}

fn ask_whether(flag: &Flag, lines: &mut dyn Lines) -> Option<Option<String>> {
    let line = lines.read(&format!("{}[y/N] ", prompt(flag)))?;
    let is_set = ["y", "yes"].contains(&line.trim().to_lowercase().as_str());
    Some(is_set.then(|| format!("-{}", flag.name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::modules;

    struct Answers {
        answers: Vec<(&'static str, &'static str)>,
        prompts: Vec<String>,
    }

    impl Lines for Answers {
        fn read(&mut self, prompt: &str) -> Option<String> {
            self.prompts.push(prompt.to_owned());
            let is_it = |(flag, _): &(&str, &str)| prompt.starts_with(&format!("  -{flag} "));
            match self.answers.iter().position(is_it) {
                Some(index) => Some(self.answers.remove(index).1.to_owned()).filter(|answer| answer != "^D"),
                None => Some(String::new()),
            }
        }

        fn show(&mut self, _line: &str) {}
    }

    #[test]
    fn answers_become_a_command_line() {
        let answers = vec![
            ("name", "^passwd$"),
            ("path", "/etc"),
            ("path", "/my files "),
            ("maxdepth", " 2 "),
            ("remotefs", "y"),
        ];
        let mut answers = Answers { answers, prompts: Vec::new() };
        let file = modules::by_name("file").unwrap();
        let words = ask(file.form(), &mut answers).unwrap();
        assert_eq!(words, ["-path", "/etc", "-path", "/my files ", "-name", "^passwd$", "-maxdepth", "2", "-remotefs"]);
        file.parse_arguments(&words).unwrap();
        assert!(answers.prompts.contains(&"  -content <regex>  on each line; !<regex>: no line matches: ".to_owned()));
        let mut answers = Answers { answers: vec![("path", "/etc"), ("name", "^D")], prompts: Vec::new() };
        assert_eq!(ask(file.form(), &mut answers), None);
    }

    #[test]
    fn what_is_set_without_an_answer_is_not_asked_for() {
        for module in modules::all() {
            let mut answers = Answers { answers: Vec::new(), prompts: Vec::new() };
            ask(module.form(), &mut answers).unwrap();
            let asked = |name: &str| {
                answers.prompts.iter().any(|prompt| {
                    prompt.starts_with(&format!("  -{name}:")) || prompt.starts_with(&format!("  -{name} "))
                })
            };
            for (field, set) in module.form().preset {
                for flag in module.form().flags().filter(|flag| flag.field == *field) {
                    let is_preset = matches!(flag.kind, Kind::Switch(to) if to == *set);
                    assert_eq!(asked(flag.name), !is_preset, "{} -{}", module.name(), flag.name);
                }
            }
        }
        let answers = vec![("name", "^nf"), ("matchall", "n"), ("matchany", "y")];
        let mut answers = Answers { answers, prompts: Vec::new() };
        let kernelmodule = modules::by_name("kernelmodule").unwrap();
        let words = ask(kernelmodule.form(), &mut answers).unwrap();
        assert_eq!(words, ["-name", "^nf", "-matchany"]);
        assert!(kernelmodule.parse_arguments(&words).unwrap()["searches"]["s1"]["options"]["matchall"] == false);
    }
}
