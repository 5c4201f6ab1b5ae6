//! Answers as tables and sentences a person enjoys reading.
//!
//! The tables are laid out by `comfy-table`, which counts display columns (CJK characters take two) and wraps cells to
//! the terminal. Colours are always written; the output stream drops them when it is no terminal or NO_COLOR is set.

use anstyle::{AnsiColor, Style};
use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

/// Style of headings.
pub(crate) const BOLD: Style = Style::new().bold();
/// Style of what can be skipped in reading.
pub(crate) const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();

/// Width of tables when the output is no terminal, columns.
const PLAIN_WIDTH: u16 = 120;

/// Columns whose values are short and must not be broken over lines.
const UNBROKEN: [&str; 12] =
    ["Id", "Run", "Number", "Mobile", "Result", "Action", "Side", "Field", "State", "Started", "Last", "Since"];

/// `preview-sync`; unchanged people only with `all`.
pub(crate) fn preview(data: &Value, all: bool) -> String {
    let people = list(&data["people"]);
    let of = |action: &str| people.iter().filter(|row| row["action"] == action).collect::<Vec<_>>();
    let mut text = String::new();
    section(&mut text, "New employees", new_employees(&of("create")));
    section(&mut text, "Recognised among the employees", recognised(&of("adopt")));
    section(&mut text, "Changes of employees", changed(&of("update")));
    section(&mut text, "Waiting for a decision", undecided(people));
    section(&mut text, "Left out", with_reason(&of("left-out")));
    section(&mut text, "No longer active in the directory", with_reason(&refs(&data["departures"])));
    section(&mut text, "Held by the safety limits", held(&refs(&data["held"])));
    if all {
        section(&mut text, "Unchanged", contacts(&of("unchanged")));
    }
    if !text.is_empty() {
        text.push('\n');
    }
    text.push_str(&notes(people));
    text.push_str(&sentences("Note", list(&data["warnings"])));
    if let Some(why) = string(data, "coverage").strip_prefix("partial: ") {
        text.push_str(&format!("Not everybody could be read, so nobody counts as having left: {why}\n"));
    }
    text.push_str(&preview_counts(&data["counts"]));
    text
}

/// How exactly a preview is carried out; empty when it would do nothing.
pub(crate) fn plan_number(data: &Value) -> String {
    let does = ["create", "adopt", "update", "writeBack", "stopped", "started", "deleted"];
    match data["planId"].as_str() {
        Some(plan) if does.iter().any(|kind| data["counts"][kind].as_u64() > Some(0)) => {
            format!("To do exactly this, or nothing: sync --plan {plan}\n")
        }
        _ => String::new(),
    }
}

/// `sync-ldap-users`; unchanged people only with `all`.
pub(crate) fn sync(data: &Value, all: bool) -> String {
    let rows = list(data);
    let shown: Vec<&Value> = rows.iter().filter(|row| all || row["usersSyncResult"] != "SKIPPED").collect();
    let mut table = table(&["Name", "Number", "Mobile", "E-mail", "Result", "What was done"]);
    for row in &shown {
        let (result, color) = sync_result(row);
        let mut cells: Vec<Cell> = texts(row, &["name", "number", "mobile", "email"]);
        cells.push(Cell::new(result).fg(color));
        cells.push(Cell::new(what_was_done(row)));
        table.add_row(cells);
    }
    let mut text = finished(&table);
    let left = rows.len() - shown.len();
    if left > 0 {
        text.push_str(&format!("{} left as they were.\n", people(left)));
    }
    text
}

/// How many values of a synchronisation's answer stand in the directory now.
pub(crate) fn written_back(data: &Value) -> usize {
    let done = |change: &&Value| change["side"] == "directory" && change["outcome"] == "done";
    list(data).iter().flat_map(|row| list(&row["changes"])).filter(done).count()
}

/// `get-available-ldap-users`.
pub(crate) fn users(data: &Value) -> String {
    let rows = refs(data);
    let mut text = contacts(&rows);
    text.push_str(&format!("{} found.\n", people(rows.len())));
    text
}

/// `get-status`.
pub(crate) fn status(data: &Value) -> String {
    let mut table = table(&["Id", "Server", "Kind", "Autosync", "Employees", "Last run", "Next run", "Held"]);
    for row in list(&data["servers"]) {
        let mut cells = texts(row, &["id", "server", "provider", "autosync", "syncedEmployees"]);
        cells.push(Cell::new(last_run(&row["lastRun"])));
        cells.push(Cell::new(time_or(&row["nextRun"], "–")));
        cells.push(Cell::new(if row["heldRun"].is_null() { "–".to_owned() } else { plain(&row["heldRun"]) }));
        table.add_row(cells);
    }
    let version = format!("ModuleLdapSync {}\n", string(data, "version"));
    if list(&data["servers"]).is_empty() {
        version + "There is no server yet: add one with `configure`.\n"
    } else {
        version + &finished(&table)
    }
}

/// `get-people`.
pub(crate) fn people_page(data: &Value) -> String {
    let mut table = table(&["Name", "Number", "Mobile", "E-mail", "State", "Since"]);
    for row in list(&data["people"]) {
        let mut cells = texts(row, &["name", "number", "mobile", "email", "state"]);
        cells.push(Cell::new(time_or(&row["since"], "")));
        table.add_row(cells);
    }
    let total = usize::try_from(data["total"].as_u64().unwrap_or(0)).unwrap_or(usize::MAX);
    let pages = total.div_ceil(data["perPage"].as_u64().unwrap_or(1).max(1) as usize).max(1);
    format!("{}{} in all, page {} of {pages}.\n", finished(&table), people(total), plain(&data["page"]))
}

/// `get-server-conflicts`.
pub(crate) fn conflicts(data: &Value) -> String {
    let rows = list(data);
    if rows.is_empty() {
        return "Nothing waits for a decision.\n".to_owned();
    }
    let mut table = table(&["Id", "Person", "Field", "Directory", "PBX", "Reason", "Times", "Last"]);
    for row in rows {
        let mut cells = texts(row, &["id", "person", "field", "directoryValue", "pbxValue"]);
        cells.push(Cell::new(list(&row["errors"]).iter().map(plain).collect::<Vec<_>>().join("; ")));
        cells.push(Cell::new(string(row, "count")));
        cells.push(Cell::new(time_or(&row["lastTime"], "")));
        table.add_row(cells);
    }
    finished(&table)
}

/// `get-runs`.
pub(crate) fn runs(data: &Value) -> String {
    let mut table = table(&["Run", "Server", "Kind", "Started", "Took", "State", "Summary"]);
    for row in list(data) {
        let mut cells = texts(row, &["runId", "serverId", "kind"]);
        cells.push(Cell::new(time_or(&row["startedAt"], "")));
        cells.push(Cell::new(took(row)));
        cells.push(run_state(row));
        cells.push(Cell::new(summary_or_error(row)));
        table.add_row(cells);
    }
    if table.is_empty() { "There was no run yet.\n".to_owned() } else { finished(&table) }
}

/// `get-run`.
pub(crate) fn run(data: &Value) -> String {
    let mut text = format!(
        "Run {} of server {}, {}, started {}, took {}: {}\n{}\n",
        plain(&data["runId"]),
        plain(&data["serverId"]),
        string(data, "kind"),
        time_or(&data["startedAt"], "never"),
        took(data),
        string(data, "state"),
        summary_or_error(data),
    );
    let mut table = table(&["Person", "Side", "Field", "Before", "After", "Why", "Outcome"]);
    for row in list(&data["changes"]) {
        table.add_row(texts(row, &["person", "side", "field", "old", "new", "why", "outcome"]));
    }
    text.push_str(&if table.is_empty() { "It changed nothing.\n".to_owned() } else { finished(&table) });
    text
}

/// `test-connection`.
pub(crate) fn steps(data: &Value) -> String {
    let mut text = String::new();
    for step in list(&data["steps"]) {
        let (mark, style) = if step["ok"] == true { ("✓", GOOD) } else { ("✗", BAD) };
        text.push_str(&format!("{style}{mark}{style:#} {}\n", string(step, "text")));
        text.push_str(&details("Certificate", &step["certificate"]));
        for right in list(&step["attributes"]) {
            let (field, attribute) = (string(right, "field"), string(right, "attribute"));
            text.push_str(&format!("    {field:<7} {attribute}: {}\n", string(right, "text")));
        }
    }
    text
}

/// `worker_tick`.
pub(crate) fn tick(data: &Value) -> String {
    let mut text = String::new();
    for run in list(&data["ran"]) {
        let (server, run_id) = (plain(&run["serverId"]), plain(&run["runId"]));
        text.push_str(&format!("Server {server}, run {run_id}: {}\n", string(run, "summary")));
    }
    if text.is_empty() {
        text.push_str("Nothing was due.\n");
    }
    match time(&data["nextDue"]) {
        Some(next) => text.push_str(&format!("The next run is due {next}.\n")),
        None => text.push_str("No further run is due.\n"),
    }
    text
}

/// Any answer, indented.
pub(crate) fn json(data: &Value) -> String {
    format!("{data:#}\n")
}

fn new_employees(rows: &[&Value]) -> String {
    let mut table = table(&["Name", "Number", "Mobile", "E-mail", "Photo", "To the directory"]);
    for row in rows {
        let mut cells = texts(row, &["name", "number", "mobile", "email"]);
        let photo = list(&row["changes"]).iter().any(|change| change["side"] == "pbx" && change["field"] == "photo");
        cells.push(Cell::new(if photo { "yes" } else { "" }));
        cells.push(Cell::new(changes_on(row, "directory")));
        table.add_row(cells);
    }
    finished(&table)
}

fn recognised(rows: &[&Value]) -> String {
    let mut table = table(&["Name", "Number", "Recognised by", "Changes on the PBX", "To the directory"]);
    for row in rows {
        let mut cells = texts(row, &["name", "number", "matchedBy"]);
        cells.extend([Cell::new(changes_on(row, "pbx")), Cell::new(changes_on(row, "directory"))]);
        table.add_row(cells);
    }
    finished(&table)
}

fn changed(rows: &[&Value]) -> String {
    let mut table = table(&["Name", "Number", "Changes on the PBX", "To the directory"]);
    for row in rows {
        let mut cells = texts(row, &["name", "number"]);
        cells.extend([Cell::new(changes_on(row, "pbx")), Cell::new(changes_on(row, "directory"))]);
        table.add_row(cells);
    }
    finished(&table)
}

/// Everybody with something to decide, also those whose other values are kept in step.
fn undecided(rows: &[Value]) -> String {
    let mut table = table(&["Name", "Field", "Directory", "PBX", "Why"]);
    for row in rows {
        for conflict in list(&row["conflicts"]) {
            let mut cells = vec![Cell::new(string(row, "name")).fg(Color::Yellow)];
            cells.extend(texts(conflict, &["field", "directoryValue", "pbxValue", "reason"]));
            table.add_row(cells);
        }
    }
    finished(&table)
}

fn with_reason(rows: &[&Value]) -> String {
    let mut table = table(&["Name", "Number", "Why"]);
    for row in rows {
        table.add_row(texts(row, &["name", "number", "reason"]));
    }
    finished(&table)
}

fn held(rows: &[&Value]) -> String {
    let mut table = table(&["What", "How many", "Limit", "Why"]);
    for row in rows {
        table.add_row(texts(row, &["what", "count", "limit", "reason"]));
    }
    finished(&table)
}

fn contacts(rows: &[&Value]) -> String {
    let mut table = table(&["Name", "Number", "Mobile", "E-mail", "Account"]);
    for row in rows {
        let mut cells = texts(row, &["name", "number", "mobile", "email"]);
        cells.push(Cell::new(if row["userDisabled"] == true { "disabled" } else { "" }));
        table.add_row(cells);
    }
    finished(&table)
}

/// Notes about people's values, one line each.
fn notes(rows: &[Value]) -> String {
    let mut text = String::new();
    for row in rows {
        for note in list(&row["notes"]) {
            text.push_str(&format!("Note: {}: {}\n", string(row, "name"), string(note, "text")));
        }
    }
    text
}

fn preview_counts(counts: &Value) -> String {
    let number = |key: &str| counts[key].as_u64().unwrap_or(0);
    let mut parts = Vec::new();
    for (key, words) in [
        ("create", "new"),
        ("adopt", "recognised"),
        ("update", "changed"),
        ("unchanged", "unchanged"),
        ("conflict", "waiting for a decision"),
        ("leftOut", "left out"),
        ("departed", "no longer active"),
        ("writeBack", "with a value for the directory"),
    ] {
        if number(key) > 0 {
            parts.push(format!("{} {words}", number(key)));
        }
    }
    match parts.is_empty() {
        true => "There is nobody to synchronise.\n".to_owned(),
        false => format!("{BOLD}In all:{BOLD:#} {}.\n", parts.join(", ")),
    }
}

fn sync_result(row: &Value) -> (&'static str, Color) {
    match (row["usersSyncResult"].as_str(), row["action"].as_str()) {
        (Some("CONFLICT"), _) => ("conflict", Color::Yellow),
        (Some("UPDATED"), Some("create")) => ("new", Color::Green),
        (Some("UPDATED"), Some("adopt")) => ("recognised", Color::Green),
        (Some("UPDATED"), _) => ("updated", Color::Green),
        _ => ("unchanged", Color::DarkGrey),
    }
}

/// The changes that tell something: all of an employee's, but of a new one only those in the directory and the failed.
fn what_was_done(row: &Value) -> String {
    let new = row["action"] == "create";
    let tells = |change: &&Value| !(new && change["side"] == "pbx" && change["outcome"] == "done");
    let mut lines: Vec<String> = list(&row["changes"]).iter().filter(tells).map(sided_change).collect();
    lines.extend(Some(string(row, "reason")).filter(|reason| !reason.is_empty()));
    lines.join("\n")
}

fn sided_change(change: &Value) -> String {
    let side = if change["side"] == "directory" { "directory: " } else { "PBX: " };
    let outcome = string(change, "outcome");
    let failed =
        if outcome.is_empty() || outcome == "done" { String::new() } else { format!(" – not done: {outcome}") };
    format!("{side}{}{failed}", change_text(change))
}

fn changes_on(row: &Value, side: &str) -> String {
    let changes = list(&row["changes"]).iter().filter(|change| change["side"] == side);
    changes.map(change_text).collect::<Vec<_>>().join("\n")
}

/// `number 201 → 205`, `number 205` where there was none, `mobile 79… removed`.
fn change_text(change: &Value) -> String {
    let (field, old, new) = (string(change, "field"), string(change, "old"), string(change, "new"));
    match (field.as_str(), old.is_empty(), new.is_empty()) {
        ("photo", _, true) => "photo removed".to_owned(),
        ("photo", true, false) => "photo".to_owned(),
        ("photo", false, false) => "new photo".to_owned(),
        (_, true, _) => format!("{field} {new}"),
        (_, false, true) => format!("{field} {old} removed"),
        (_, false, false) => format!("{field} {old} → {new}"),
    }
}

fn last_run(run: &Value) -> String {
    match time(&run["startedAt"]) {
        Some(started) => format!("{started}\n{}", summary_or_error(run)),
        None => "never".to_owned(),
    }
}

fn run_state(row: &Value) -> Cell {
    let state = string(row, "state");
    let color = match state.as_str() {
        "done" => Color::Green,
        "failed" => Color::Red,
        _ => Color::Yellow,
    };
    Cell::new(state).fg(color)
}

fn summary_or_error(row: &Value) -> String {
    let error = string(row, "error");
    if error.is_empty() { string(row, "summary") } else { error }
}

fn took(row: &Value) -> String {
    match (row["startedAt"].as_i64(), row["endedAt"].as_i64()) {
        (Some(start), Some(end)) => format!("{:.1} s", (end.saturating_sub(start)) as f64 / 1000.0),
        _ => "–".to_owned(),
    }
}

/// Named details below a step: an object's members, a list's items, or one value.
fn details(name: &str, value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Object(members) => {
            members.iter().map(|(key, value)| format!("    {DIM}{key}:{DIM:#} {}\n", plain(value))).collect()
        }
        Value::Array(items) => items.iter().map(|item| format!("    {}\n", plain(item))).collect(),
        other => format!("    {DIM}{name}:{DIM:#} {}\n", plain(other)),
    }
}

fn sentences(title: &str, items: &[Value]) -> String {
    items.iter().map(|item| format!("{title}: {}\n", plain(item))).collect()
}

/// Appends a table under its heading; nothing when the table has no rows.
fn section(text: &mut String, heading: &str, table: String) {
    if !table.is_empty() {
        let gap = if text.is_empty() { "" } else { "\n" };
        text.push_str(&format!("{gap}{BOLD}{heading}{BOLD:#}\n{table}"));
    }
}

fn table(titles: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED.with_rounded_corners());
    table.set_content_arrangement(ContentArrangement::Dynamic).enforce_styling();
    table.set_header(titles.iter().map(Cell::new));
    if !table.is_tty() {
        table.set_width(PLAIN_WIDTH);
    }
    for (at, title) in titles.iter().enumerate() {
        if UNBROKEN.contains(title)
            && let Some(column) = table.column_mut(at)
        {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
    table
}

/// The table as text; an empty text when it has no rows.
fn finished(table: &Table) -> String {
    if table.is_empty() { String::new() } else { format!("{table}\n") }
}

fn texts(row: &Value, keys: &[&str]) -> Vec<Cell> {
    keys.iter().map(|key| Cell::new(string(row, key))).collect()
}

fn string(row: &Value, key: &str) -> String {
    plain(&row[key])
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => without_controls(text),
        other => without_controls(&other.to_string()),
    }
}

/// Values come from directories: no control character of theirs reaches the terminal.
fn without_controls(text: &str) -> String {
    text.chars().map(|c| if c.is_control() && c != '\n' { '\u{fffd}' } else { c }).collect()
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn refs(value: &Value) -> Vec<&Value> {
    list(value).iter().collect()
}

/// A count of people, in words.
pub(crate) fn people(count: usize) -> String {
    if count == 1 { "1 person".to_owned() } else { format!("{count} people") }
}

fn time_or(value: &Value, otherwise: &str) -> String {
    time(value).unwrap_or_else(|| otherwise.to_owned())
}

/// Unix milliseconds as local time.
fn time(value: &Value) -> Option<String> {
    let timestamp = Timestamp::from_millisecond(value.as_i64()?).ok()?;
    Some(timestamp.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The text without colours.
    fn bare(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn columns_stay_aligned_with_wide_characters() {
        let rows = json!([
            {"name": "李小龙", "number": "201", "mobile": "", "email": "li@example.test"},
            {"name": "O'Brien", "number": "202", "mobile": "353871234567", "email": "ob@example.test"},
        ]);
        let text = bare(&users(&rows));
        let expected = "\
╭─────────┬────────┬──────────────┬─────────────────┬─────────╮
│ Name    ┆ Number ┆ Mobile       ┆ E-mail          ┆ Account │
╞═════════╪════════╪══════════════╪═════════════════╪═════════╡
│ 李小龙  ┆ 201    ┆              ┆ li@example.test ┆         │
│ O'Brien ┆ 202    ┆ 353871234567 ┆ ob@example.test ┆         │
╰─────────┴────────┴──────────────┴─────────────────┴─────────╯
2 people found.
";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_preview_shows_who_what_and_why() {
        let data = json!({
            "serverId": 1, "coverage": "partial: the server cut the answer at 500 entries",
            "counts": {"create": 1, "adopt": 1, "update": 0, "unchanged": 1, "conflict": 1, "leftOut": 0, "departed": 1,
                       "writeBack": 1},
            "people": [
                {"name": "Ann", "number": "205", "mobile": "", "email": "", "action": "create", "conflicts": [], "notes": [
                    {"field": "mobile", "text": "is no phone number"}],
                 "changes": [{"side": "directory", "field": "number", "old": "", "new": "205", "why": "x"}]},
                {"name": "Bob", "number": "201", "action": "adopt", "matchedBy": "email", "conflicts": [], "changes": [
                    {"side": "pbx", "field": "name", "old": "Bobby", "new": "Bob", "why": "x"}]},
                {"name": "Cy", "number": "", "action": "conflict", "changes": [], "conflicts": [
                    {"field": "number", "directoryValue": "2000", "pbxValue": "", "reason": "2000 is the queue Sales"}]},
                {"name": "Dinah", "number": "203", "action": "unchanged", "changes": [], "conflicts": []},
            ],
            "departures": [{"name": "Ed", "number": "204", "reason": "not found any more"}],
            "held": [{"what": "renamed", "count": 9, "limit": 5, "reason": "too many"}],
            "warnings": ["a warning"],
        });
        let text = bare(&preview(&data, false));
        assert_eq!(plan_number(&data), "");
        let with_plan = json!({"planId": "0f", "counts": {"writeBack": 1}});
        assert_eq!(plan_number(&with_plan), "To do exactly this, or nothing: sync --plan 0f\n");
        assert_eq!(plan_number(&json!({"planId": "0f", "counts": {"unchanged": 1}})), "");
        for part in [
            "New employees",
            "205",
            "number 205",
            "Recognised among",
            "email",
            "name Bobby → Bob",
            "Waiting for a decision",
            "2000 is the queue Sales",
            "No longer active",
            "not found any more",
            "Held by",
            "too many",
            "Note: a warning",
            "Note: Ann: is no phone number",
            "nobody counts as having left: the server cut the answer",
            "In all: 1 new, 1 recognised, 1 unchanged, 1 waiting for a decision, 1 no longer active, 1 with a value",
        ] {
            assert!(text.contains(part), "{part:?} is missing in\n{text}");
        }
        assert!(!text.contains("Dinah") && !text.contains("Changes of employees"), "{text}");
        assert!(bare(&preview(&data, true)).contains("Dinah"));
    }

    #[test]
    fn a_synchronisation_shows_results_and_counts_what_was_written_back() {
        let data = json!([
            {"name": "Ann", "number": "205", "action": "create", "usersSyncResult": "UPDATED", "changes": [
                {"side": "pbx", "field": "name", "old": "", "new": "Ann", "outcome": "done"},
                {"side": "directory", "field": "number", "old": "", "new": "205", "outcome": "done"}]},
            {"name": "Bob", "number": "206", "action": "create", "usersSyncResult": "CONFLICT", "reason": "no right", "changes": [
                {"side": "directory", "field": "number", "old": "", "new": "206", "outcome": "the account may not"}]},
            {"name": "Cy", "action": "unchanged", "usersSyncResult": "SKIPPED", "changes": []},
        ]);
        let text = bare(&sync(&data, false));
        assert!(text.contains("directory: number 205"), "{text}");
        assert!(text.contains("not done: the account may not") && text.contains("no right"), "{text}");
        assert!(!text.contains("Cy") && text.contains("1 person left"), "{text}");
        assert!(!text.contains("name Ann"), "a new employee's own values are in the columns:\n{text}");
        assert_eq!(written_back(&data), 1);
    }

    #[test]
    fn changes_are_worded_by_what_happens() {
        #[track_caller]
        fn check(field: &str, old: &str, new: &str, expected: &str) {
            assert_eq!(change_text(&json!({"field": field, "old": old, "new": new})), expected);
        }
        check("number", "201", "205", "number 201 → 205");
        check("number", "", "205", "number 205");
        check("mobile", "79161234567", "", "mobile 79161234567 removed");
        check("photo", "photo", "photo", "new photo");
        check("photo", "", "photo", "photo");
    }

    #[test]
    fn control_characters_of_a_directory_do_not_reach_the_terminal() {
        let text = bare(&users(&json!([{"name": "a\u{1b}[31mb\u{7}"}])));
        assert!(!text.contains('\u{1b}') && !text.contains('\u{7}'), "{text:?}");
        assert!(text.contains("a\u{fffd}[31mb\u{fffd}"), "{text}");
    }

    #[test]
    fn steps_are_marked_and_show_the_certificate() {
        let data = json!({"steps": [
            {"step": "reach", "ok": true, "text": "reached dc1"},
            {"step": "rights", "ok": true, "text": "rights", "attributes": [
                {"field": "email", "attribute": "mail", "writable": true, "text": "may be written"}]},
            {"step": "tls", "ok": false, "text": "not trusted", "certificate": {"sha256": "ab:cd"}}]});
        let text = bare(&steps(&data));
        assert_eq!(
            text,
            "✓ reached dc1\n✓ rights\n    email   mail: may be written\n✗ not trusted\n    sha256: ab:cd\n"
        );
    }
}
