//! What lists of users say of an account, whatever aliases are in them.

use super::super::sudoers_text::Item;
use std::collections::HashMap;

/// Aliases in an order in which each stands behind those that it is made of: each is looked at once, however deep they are.
#[derive(Debug, Default)]
pub(super) struct Lists {
    in_order: Vec<(String, Vec<Item>)>,
}

impl Lists {
    /// Puts aliases in order, and names those that are made of themselves: there their name is a user's, as for sudo.
    pub(super) fn of(mut aliases: HashMap<String, Vec<Item>>) -> (Lists, Vec<String>) {
        let mut names: Vec<&String> = aliases.keys().collect();
        names.sort_unstable();
        let (mut order, mut cyclic): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        // Whether an alias is in its place; else those that it is made of are looked at.
        let mut is_placed: HashMap<&str, bool> = HashMap::new();
        for name in names {
            let mut begun = Vec::new();
            if !is_placed.contains_key(name.as_str()) {
                is_placed.insert(name, false);
                begun.push((name, aliases[name].iter()));
            }
            while let Some((name, items)) = begun.last_mut() {
                let Some(item) = items.next() else {
                    is_placed.insert(name, true);
                    order.push((*name).clone());
                    begun.pop();
                    continue;
                };
                let Some((part, list)) = aliases.get_key_value(&item.word) else { continue };
                match is_placed.get(part.as_str()) {
                    Some(true) => {}
                    Some(false) => cyclic.push(part.clone()),
                    None => {
                        is_placed.insert(part, false);
                        begun.push((part, list.iter()));
                    }
                }
            }
        }
        cyclic.sort_unstable();
        cyclic.dedup();
        let in_order = order.into_iter().filter_map(|name| aliases.remove_entry(&name)).collect();
        (Lists { in_order }, cyclic)
    }

    /// The aliases.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &[Item])> {
        self.in_order.iter().map(|(name, list)| (name.as_str(), list.as_slice()))
    }

    /// What each alias says of someone: `is` knows whether a word that is no alias means them.
    pub(super) fn decide<F: Fn(&str) -> bool>(&self, is: F) -> Decided<'_, F> {
        let mut decided = Decided { aliases: HashMap::new(), is };
        for (name, list) in self.iter() {
            let holds = decided.holds(list);
            decided.aliases.insert(name, holds);
        }
        decided
    }
}

/// What is known of one account.
pub(super) struct Decided<'a, F> {
    aliases: HashMap<&'a str, Option<bool>>,
    is: F,
}

impl<F: Fn(&str) -> bool> Decided<'_, F> {
    /// Whether a list has the account: its last item that does decides. None: no item does.
    pub(super) fn holds(&self, list: &[Item]) -> Option<bool> {
        list.iter().rev().find_map(|item| {
            let is_it = match self.aliases.get(item.word.as_str()) {
                Some(is_it) => *is_it,
                None => (self.is)(&item.word).then_some(true),
            };
            is_it.map(|is_it| is_it != item.is_negated)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Vec<Item> {
        let item = |word: &str| Item { is_negated: word.starts_with('!'), word: word.trim_start_matches('!').into() };
        text.split(',').map(item).collect()
    }

    fn lists(aliases: &[(&str, &str)]) -> (Lists, Vec<String>) {
        Lists::of(aliases.iter().map(|(name, text)| ((*name).to_owned(), list(text))).collect())
    }

    #[test]
    fn aliases_are_followed_however_deep_and_cycles_end() {
        let mut deep: Vec<(String, String)> = (1..100_000).map(|n| (format!("A{n}"), format!("A{}", n - 1))).collect();
        deep.push(("A0".into(), "joe,!eve".into()));
        let deep: Vec<(&str, &str)> = deep.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        let (deep, cyclic) = lists(&deep);
        assert_eq!(cyclic, [""; 0]);
        for (name, expected) in [("joe", Some(true)), ("eve", Some(false)), ("bin", None)] {
            assert_eq!(deep.decide(|word| word == name).holds(&list("A99999")), expected, "{name}");
            assert_eq!(deep.decide(|word| word == name).holds(&list("!A99999")), expected.map(|is| !is), "{name}");
        }
        let (cyclic, named) = lists(&[("A", "joe,A,A,A,A,A,A,A,A"), ("B", "eve,C"), ("C", "B,bin"), ("D", "A,C")]);
        assert_eq!(named, ["A", "B"]);
        for (name, expected) in [("joe", Some(true)), ("bin", Some(true)), ("eve", None), ("x", None)] {
            assert_eq!(cyclic.decide(|word| word == name).holds(&list("D")), expected, "{name}");
        }
    }
}
