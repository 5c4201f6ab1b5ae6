//! The words MikoPBX itself shows, as the PHP files it reads, from the same source as the page's words.

use std::collections::BTreeMap;

use anyhow::{Context, ensure};
use serde_json::Value;

/// What the keys for MikoPBX begin with in `public/assets/i18n`; the rest is MikoPBX's own key.
const PREFIX: &str = "mikopbx.";

/// `Messages/<language>.php` for one language file of the page.
pub(crate) fn messages(json: &str) -> anyhow::Result<String> {
    let words: BTreeMap<String, Value> = serde_json::from_str(json).context("words are a JSON object")?;
    let mut lines = String::new();
    for (key, word) in words.iter().filter_map(|(key, word)| Some((key.strip_prefix(PREFIX)?, word))) {
        let word = word.as_str().with_context(|| format!("{key} has no single text"))?;
        lines += &format!("    {} => {},\n", quoted(key), quoted(word));
    }
    ensure!(!lines.is_empty(), "there is no word that begins with {PREFIX:?}");
    Ok(format!("<?php\n\nreturn [\n{lines}];\n"))
}

/// A PHP string: within single quotes only those and backslashes mean something.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mikopbxs_words_are_taken_and_the_pages_left() {
        let php = messages(r#"{"mikopbx.b": "it's a \\", "page.title": "x", "mikopbx.a": "1"}"#).expect("words");
        assert_eq!(php, "<?php\n\nreturn [\n    'a' => '1',\n    'b' => 'it\\'s a \\\\',\n];\n");
    }

    #[test]
    fn a_word_with_plural_forms_is_refused_and_so_is_none_at_all() {
        assert!(messages(r#"{"mikopbx.a": {"one": "x"}}"#).is_err());
        assert!(messages(r#"{"page.title": "x"}"#).is_err());
    }
}
