//! The people page: everyone kept in step, searched, sorted and paged.

use rusqlite::types::Value;
use rusqlite::{Transaction, params_from_iter};

use super::links::{columns, fold, link_from_row};
use super::{Journal, JournalError, Link};

/// Which people, in which order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeopleQuery {
    /// Only people of this server.
    pub server_id: Option<i64>,
    /// Only people whose name, number, mobile or e-mail on the PBX contains this, whatever the case; nothing in it is a
    /// wildcard. A telephone number may be typed with spaces and punctuation.
    pub search: String,
    /// How many to leave out at the beginning.
    pub offset: u32,
    /// How many to answer at most.
    pub limit: u32,
    /// The order; people equal in it come in the order of their links.
    pub sort: PeopleSort,
    /// The reverse order.
    pub descending: bool,
}

/// Orders of the people page.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PeopleSort {
    /// By name on the PBX, whatever the case.
    #[default]
    Name,
    /// By internal number, numerically.
    Number,
    /// By mobile number, digit by digit.
    Mobile,
    /// By e-mail address.
    Email,
    /// By the account's state, then by name.
    State,
    /// By the time of the last change of state.
    Since,
}

impl PeopleSort {
    fn columns(self) -> &'static [&'static str] {
        match self {
            PeopleSort::Name => &["sort_name"],
            PeopleSort::Number => &["sort_number"],
            PeopleSort::Mobile => &["mobile_shown"],
            PeopleSort::Email => &["email_shown COLLATE NOCASE"],
            PeopleSort::State => &["state", "sort_name"],
            PeopleSort::Since => &["since"],
        }
    }
}

impl Journal {
    /// The page of people that `query` asks for, and how many there are on all pages. Searched and
    /// sorted are the values shown.
    pub fn people(&self, query: &PeopleQuery) -> Result<(Vec<Link>, u32), JournalError> {
        self.read(|tx| {
            let (condition, values) = condition(query);
            let count = format!("SELECT count(*) FROM links INDEXED BY links_page WHERE {condition}");
            let total = tx.query_row(&count, params_from_iter(&values), |row| row.get(0))?;
            let people = page(tx, query, &condition, &values)?;
            Ok((people, total))
        })
    }
}

/// The ids come from the index `links_page` alone, so that only rows of the page itself are looked up.
fn page(tx: &Transaction<'_>, query: &PeopleQuery, condition: &str, values: &[Value]) -> rusqlite::Result<Vec<Link>> {
    let direction = if query.descending { "DESC" } else { "ASC" };
    let order = query.sort.columns().iter().chain(&["id"]).map(|column| format!("{column} {direction}"));
    let order = order.collect::<Vec<_>>().join(", ");
    let sql = format!(
        "SELECT id FROM links INDEXED BY links_page WHERE {condition} ORDER BY {order} LIMIT {} OFFSET {}",
        query.limit, query.offset
    );
    let mut ids = tx.prepare(&sql)?;
    let mut link = tx.prepare_cached(&format!("SELECT {} FROM links WHERE id = ?1", columns()))?;
    ids.query_map(params_from_iter(values), |row| row.get::<_, i64>(0))?
        .map(|id| link.query_row([id?], link_from_row))
        .collect()
}

fn condition(query: &PeopleQuery) -> (String, Vec<Value>) {
    let mut terms = vec!["1".to_owned()];
    let mut values = Vec::new();
    if let Some(server_id) = query.server_id {
        terms.push("server_id = ?".to_owned());
        values.push(Value::Integer(server_id));
    }
    let wanted = fold(query.search.trim());
    if !wanted.is_empty() {
        let wanted = [Some(wanted.clone()), digits_of_telephone_number(&wanted)];
        let found: Vec<_> = wanted.into_iter().flatten().map(Value::Text).collect();
        terms.push(format!("({})", vec!["instr(search, ?) > 0"; found.len()].join(" OR ")));
        values.extend(found);
    }
    (terms.join(" AND "), values)
}

/// The digits of something typed as `+7 (916) 123-45-67`, which the PBX stores as digits alone.
fn digits_of_telephone_number(text: &str) -> Option<String> {
    let punctuation = |c: char| matches!(c, '+' | '-' | '(' | ')' | '.' | ' ' | '\u{a0}');
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let only_these = text.chars().all(|c| c.is_ascii_digit() || punctuation(c));
    (only_these && digits.len() >= 3 && digits != text).then_some(digits)
}
