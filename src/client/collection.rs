//! Collection+JSON, in which the API answers (amundsen.com/media-types/collection): read once, bounded, into items of raw values.

use crate::json::{Fields, JsonError};
use crate::limits;
use serde_json::value::RawValue;

/// One answer.
#[derive(Debug, Default)]
pub struct Collection<'a> {
    /// Its items; those of a search without the last one.
    pub items: Vec<Item<'a>>,
    /// What was searched, and how much there is: the last item of a search.
    pub search: Option<&'a RawValue>,
    /// Where the next page is, if there is one.
    pub next: Option<String>,
    /// The id of the request, and what is wrong with it.
    pub error: Option<(String, String)>,
}

/// One item: named values.
#[derive(Debug)]
pub struct Item<'a> {
    /// Where it is.
    pub href: String,
    /// Names and values, in order.
    pub data: Vec<(String, &'a RawValue)>,
}

impl<'a> Item<'a> {
    /// The first value: an action, a command, an agent.
    pub fn value(&self) -> Result<&'a RawValue, JsonError> {
        self.data.first().map(|(_, value)| *value).ok_or_else(|| JsonError::field("data", "is empty"))
    }
}

/// The name of a search's last item.
const SEARCH: &str = "search parameters";
/// Values of one item, links of a collection: the dashboard has a dozen.
const DATA_MAX: usize = 100;

impl<'a> Collection<'a> {
    /// Parses an answer.
    pub fn parse(bytes: &'a [u8]) -> Result<Collection<'a>, JsonError> {
        let outer = Fields::parse(bytes)?;
        let fields = outer.inner("collection")?.ok_or_else(|| outer.missing("collection"))?;
        let rows_max = usize::try_from(limits::CLIENT_ROWS_MAX).unwrap_or(usize::MAX);
        let mut collection = Collection::default();
        for (index, raw) in fields.array("items", rows_max + 1)?.into_iter().enumerate() {
            let item = parse_item(&fields.path(&format!("items[{index}]")), raw)?;
            match item.data.first() {
                Some((name, value)) if name == SEARCH => collection.search = Some(value),
                _ => collection.items.push(item),
            }
        }
        for raw in fields.array("links", DATA_MAX)? {
            let link = Fields::at(&fields.path("links"), raw.get())?;
            if link.text("rel", DATA_MAX)? == "next" {
                collection.next = Some(link.text_required("href", limits::CLIENT_LINK_BYTES_MAX)?);
            }
        }
        if let Some(error) = fields.inner("error")? {
            let message = error.text("message", usize::MAX)?;
            if !message.is_empty() {
                collection.error = Some((error.text("code", usize::MAX)?, message));
            }
        }
        Ok(collection)
    }

    /// The first item's value.
    pub fn first(&self) -> Result<&'a RawValue, JsonError> {
        self.items.first().ok_or_else(|| JsonError::field("items", "is empty"))?.value()
    }
}

fn parse_item<'a>(path: &str, raw: &'a RawValue) -> Result<Item<'a>, JsonError> {
    let item = Fields::at(path, raw.get())?;
    let one = |(index, raw): (usize, &'a RawValue)| {
        let data = Fields::at(&item.path(&format!("data[{index}]")), raw.get())?;
        // null is a value too: no agents by version.
        const NULL: &RawValue = RawValue::NULL;
        Ok((data.text("name", limits::ACTION_NAME_BYTES_MAX)?, data.raw("value").unwrap_or(NULL)))
    };
    let data = item.array("data", DATA_MAX)?.into_iter().enumerate().map(one);
    Ok(Item { href: item.text("href", limits::CLIENT_LINK_BYTES_MAX)?, data: data.collect::<Result<_, JsonError>>()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers in the captures of the original.
    fn captures() -> impl Iterator<Item = (&'static str, &'static str)> {
        include_str!("../../tests/samples/api-responses.txt").split("### ").filter_map(|capture| {
            let body = capture.lines().find(|line| line.starts_with('{'))?;
            Some((capture.lines().next().unwrap_or_default(), body))
        })
    }

    #[test]
    fn every_answer_of_the_original_is_read() {
        let mut kinds = std::collections::BTreeSet::new();
        for (request, body) in captures() {
            let collection = Collection::parse(body.as_bytes()).unwrap_or_else(|e| panic!("{request}: {e}"));
            assert!(collection.error.is_some() == collection.items.is_empty(), "{request}");
            assert_eq!(collection.search.is_some(), request.contains("search?"));
            kinds.extend(collection.items.iter().map(|item| item.data[0].0.clone()));
        }
        for kind in ["action", "agent", "command", "investigator", "online agents", "compliance item"] {
            assert!(kinds.contains(kind), "{kind}: {kinds:?}");
        }
    }

    #[test]
    fn links_and_errors_are_read() {
        let text = r#"{"collection":{"links":[{"rel":"next","href":"/api/v1/search?afterid=7"}],"error":{"code":"9","message":"no"}}}"#;
        let collection = Collection::parse(text.as_bytes()).unwrap();
        assert_eq!(collection.next.as_deref(), Some("/api/v1/search?afterid=7"));
        assert_eq!(collection.error, Some(("9".into(), "no".into())));
        assert!(Collection::parse(b"404 page not found").is_err());
        assert!(Collection::parse(b"{}").unwrap_err().to_string().contains("'collection': is missing"));
    }
}
