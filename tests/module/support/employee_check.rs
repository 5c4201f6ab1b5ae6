//! Where the employees of a PBX's database differ from what MikoPBX's own code would have written. The rules and their
//! sources stand in `docs/MIKOPBX.md`; this is written from them, not from the product's code.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;

use regex::Regex;

use super::pbx::{Pbx, Rows, md5_hex};

/// One sentence per deviation, about employees whose `m_Users.id` is greater than `after`, and about rows of nobody.
pub(crate) fn employee_rows_check(pbx: &Pbx, after: i64) -> Vec<String> {
    let check = Check { rows: pbx.dump(), media: &pbx.media, found: Vec::new() };
    check.run(after)
}

type Row = BTreeMap<String, String>;

struct Check<'a> {
    rows: Rows,
    media: &'a Path,
    found: Vec<String>,
}

/// Columns of a fresh peer that never differ from one employee to the next, with SQLite's storage class.
const FRESH_PEER: &[(&str, &str)] = &[
    ("type", "text:peer"),
    ("registration_type", "text:"),
    ("host", "text:"),
    ("port", "integer:5060"),
    ("username", "text:"),
    ("transport", "text:udp,tcp"),
    ("outbound_proxy", "text:"),
    ("fromuser", "text:"),
    ("fromdomain", "text:"),
    ("nat", "text:"),
    ("dtmfmode", "text:auto"),
    ("qualifyfreq", "integer:60"),
    ("qualify", "text:1"),
    ("networkfilterid", "null"),
    ("manualattributes", "text:"),
    ("disablefromuser", "text:0"),
    ("noregister", "text:0"),
    ("enableRecording", "integer:1"),
    ("weakSecret", "integer:0"),
    ("cid_source", "text:default"),
    ("cid_custom_header", "text:"),
    ("cid_parser_start", "text:"),
    ("cid_parser_end", "text:"),
    ("cid_parser_regex", "text:"),
    ("did_source", "text:default"),
    ("did_custom_header", "text:"),
    ("did_parser_start", "text:"),
    ("did_parser_end", "text:"),
    ("did_parser_regex", "text:"),
    ("cid_did_debug", "text:0"),
];

const FORBIDDEN_SECRETS: [&str; 5] = ["admin", "password", "1234", "12345", "secret"];

/// Numbers a PBX keeps for emergencies and for itself.
const EMERGENCY: [&str; 8] = ["000", "101", "102", "103", "104", "112", "911", "999"];

const SPECIAL_TARGETS: [&str; 4] = ["hangup", "busy", "did2user", "voicemail"];

impl Check<'_> {
    fn run(mut self, after: i64) -> Vec<String> {
        let users: Vec<(i64, Row)> = self
            .table("m_Users")
            .into_iter()
            .map(|(id, row)| (id.parse().expect("m_Users.id is a number"), row))
            .filter(|(id, _)| *id > after)
            .collect();
        for (id, user) in &users {
            self.user(*id, user);
        }
        self.numbers_stand_once();
        self.unique("m_Sip", "uniqid");
        self.unique("m_ExternalPhones", "uniqid");
        self.unique("m_ExtensionForwardingRights", "extension");
        self.secrets_differ(&users);
        self.no_orphans();
        self.no_stray_photos(after);
        self.found
    }

    fn user(&mut self, id: i64, user: &Row) {
        let who = format!("user {id} ({})", text(user, "username"));
        let name = text(user, "username");
        let email = text(user, "email");
        self.name(&who, &name);
        self.expect(&who, "m_Users.email", kind(user, "email"), "text");
        if !email.is_empty() && !is_email(&email) {
            self.add(&who, format!("e-mail {email:?} is not one"));
        }
        let language = self.setting("PBXLanguage").unwrap_or_else(|| "en-en".to_owned());
        self.expect(&who, "m_Users.language", &text(user, "language"), &language);
        self.avatar(&who, id, user);

        let extensions = self.rows_where("m_Extensions", "userid", &format!("integer:{id}"));
        let untyped = self.rows_where("m_Extensions", "userid", &format!("text:{id}"));
        if !untyped.is_empty() {
            self.add(&who, "m_Extensions.userid is stored as text, MikoPBX's ORM fails on it".to_owned());
        }
        let of_type =
            |kind: &str| -> Vec<Row> { extensions.iter().filter(|row| text(row, "type") == kind).cloned().collect() };
        let (internal, external) = (of_type("SIP"), of_type("EXTERNAL"));
        if internal.len() != 1 || external.len() > 1 || internal.len() + external.len() != extensions.len() {
            let kinds: Vec<String> = extensions.iter().map(|row| text(row, "type")).collect();
            self.add(&who, format!("extensions are {kinds:?}, expected one SIP and at most one EXTERNAL"));
        }
        let Some(internal) = internal.first() else { return };
        let number = text(internal, "number");
        let mobile = external.first().map_or_else(String::new, |row| text(row, "number"));
        self.extension(&who, internal, &name, &email, &number, "");
        self.internal_number(&who, &number);
        self.peer(&who, &number, &name);
        self.forwarding(&who, &number, &mobile);
        if let Some(row) = external.first() {
            self.extension(&who, row, &name, &email, &number, &mobile);
            self.mobile(&who, &mobile);
        }
    }

    fn name(&mut self, who: &str, name: &str) {
        let length = name.chars().count();
        if !(1..=100).contains(&length) {
            self.add(who, format!("the name has {length} characters, MikoPBX takes 1 to 100"));
        }
        if name.trim() != name || name.contains('\0') {
            self.add(who, "the name has blanks at its ends or a NUL".to_owned());
        }
        let harmful = concat!(
            r"(?i)<\s*(script|iframe|object|embed|applet|meta|link|style|form)\b|<\?|<!--#|javascript:|vbscript:",
            r"|data:text/html|\son\w+\s*=|\bunion\b.*\bselect\b|\bdelete\b.*\bfrom\b|\binsert\b.*\binto\b|\bupdate\b.*\bset\b"
        );
        if regex(harmful).is_match(name) {
            self.add(who, "MikoPBX refuses to save such a name".to_owned());
        }
    }

    fn extension(&mut self, who: &str, row: &Row, name: &str, email: &str, number: &str, mobile: &str) {
        let kind = text(row, "type");
        let caller = caller_id(name);
        self.expect(who, &format!("{kind} callerid"), &text(row, "callerid"), &caller);
        let index = format!("{} {} {} {number} {mobile}", lower(name), lower(&caller), lower(email));
        self.expect(who, &format!("{kind} search_index"), &text(row, "search_index"), &index);
        for column in ["show_in_phonebook", "public_access", "is_general_user_number"] {
            self.expect(who, &format!("{kind} {column}"), value(row, column), "text:1");
        }
        self.expect(who, &format!("{kind} number"), kind_of(value(row, "number")), "text");
    }

    fn internal_number(&mut self, who: &str, number: &str) {
        if !regex("^[0-9]{2,8}$").is_match(number) {
            self.add(who, format!("internal number {number:?} is not 2 to 8 digits"));
        }
        if EMERGENCY.contains(&number) {
            self.add(who, format!("internal number {number} is kept for emergencies"));
        }
    }

    fn peer(&mut self, who: &str, number: &str, name: &str) {
        let peers = self.rows_where("m_Sip", "extension", &format!("text:{number}"));
        if peers.len() != 1 {
            self.add(who, format!("{} rows of m_Sip for {number}", peers.len()));
        }
        for peer in &peers {
            for (column, fresh) in FRESH_PEER.iter().filter(|(column, _)| peer.contains_key(*column)) {
                self.expect(who, &format!("m_Sip.{column}"), value(peer, column), fresh);
            }
            // A synchronisation may switch the account of somebody who left off.
            self.shape(who, "m_Sip.disabled", value(peer, "disabled"), "^text:[01]$");
            self.expect(who, "m_Sip.description", value(peer, "description"), &format!("text:{name}"));
            self.shape(who, "m_Sip.uniqid", &text(peer, "uniqid"), "^SIP-PHONE-[0-9A-F]{8}$");
            self.secret(who, &text(peer, "secret"));
        }
    }

    fn secret(&mut self, who: &str, secret: &str) {
        if !(5..=64).contains(&secret.len()) {
            self.add(who, format!("the SIP secret has {} bytes, MikoPBX takes 5 to 64", secret.len()));
        }
        if FORBIDDEN_SECRETS.contains(&secret) {
            self.add(who, "the SIP secret is one of those MikoPBX refuses".to_owned());
        }
        let score = secret_score(secret);
        if score < 60 {
            self.add(who, format!("the SIP secret scores {score}, MikoPBX wants 60"));
        }
    }

    fn forwarding(&mut self, who: &str, number: &str, mobile: &str) {
        let rows = self.rows_where("m_ExtensionForwardingRights", "extension", &format!("text:{number}"));
        if rows.len() != 1 {
            self.add(who, format!("{} rows of m_ExtensionForwardingRights for {number}", rows.len()));
        }
        for row in &rows {
            // Taking a mobile away leaves 0 where the main forwarding pointed at it.
            let removed = mobile.is_empty() && value(row, "ringlength") == "integer:0";
            if !removed {
                self.expect(who, "ringlength", value(row, "ringlength"), "integer:45");
            }
            for column in ["forwarding", "forwardingonbusy", "forwardingonunavailable"] {
                self.expect(who, column, kind(row, column), "text");
                self.forwarding_target(who, column, &text(row, column), number);
            }
            let targets: BTreeSet<String> =
                ["forwarding", "forwardingonbusy", "forwardingonunavailable"].map(|column| text(row, column)).into();
            if targets.len() > 1 || targets.iter().any(|target| !target.is_empty() && target != mobile) {
                self.add(
                    who,
                    format!("forwardings of a fresh employee are {targets:?}, expected none or all to {mobile:?}"),
                );
            }
        }
    }

    fn forwarding_target(&mut self, who: &str, column: &str, target: &str, number: &str) {
        if target.is_empty() {
            return;
        }
        if !regex("^[0-9]{1,20}$").is_match(target) && !SPECIAL_TARGETS.contains(&target) {
            self.add(who, format!("{column} {target:?} is not of the form MikoPBX takes"));
        }
        if target == number {
            self.add(who, format!("{column} points to the employee's own number"));
        }
        if self.rows_where("m_Extensions", "number", &format!("text:{target}")).is_empty() {
            self.add(who, format!("{column} points to {target}, which does not exist"));
        }
    }

    fn mobile(&mut self, who: &str, mobile: &str) {
        self.shape(who, "mobile", mobile, "^[1-9][0-9]{1,14}$");
        let phones = self.rows_where("m_ExternalPhones", "extension", &format!("text:{mobile}"));
        if phones.len() != 1 {
            self.add(who, format!("{} rows of m_ExternalPhones for {mobile}", phones.len()));
        }
        for phone in &phones {
            self.expect(who, "m_ExternalPhones.dialstring", value(phone, "dialstring"), &format!("text:{mobile}"));
            self.expect(who, "m_ExternalPhones.disabled", value(phone, "disabled"), "text:0");
            for column in ["manualdialplanincoming", "manualdialplanoutgoing"] {
                self.expect(who, column, value(phone, column), "text:");
            }
            self.shape(who, "m_ExternalPhones.uniqid", &text(phone, "uniqid"), "^EXTERNAL-[0-9A-F]{8}$");
        }
    }

    fn avatar(&mut self, who: &str, id: i64, user: &Row) {
        let avatar = text(user, "avatar");
        self.expect(who, "m_Users.avatar", kind(user, "avatar"), "text");
        if avatar.is_empty() {
            return;
        }
        let file = self.media.join(format!("avatars/user_{id}.jpg"));
        let Ok(bytes) = std::fs::read(&file) else {
            self.add(who, format!("the avatar is {avatar}, but {} cannot be read", file.display()));
            return;
        };
        let wanted = format!(r#"{{"path":"/avatars/user_{id}.jpg","hash":"{}"}}"#, md5_hex(&bytes));
        self.expect(who, "m_Users.avatar", &avatar, &wanted);
        if bytes.len() < 1024 {
            self.add(who, format!("the photo has {} bytes, MikoPBX wants at least 1024", bytes.len()));
        }
        let magics: [&[u8]; 5] = [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a", b"RIFF"];
        if !magics.iter().any(|magic| bytes.starts_with(magic)) {
            self.add(who, "the photo is of no kind that MikoPBX takes".to_owned());
        }
        let mode = std::fs::metadata(&file).map_or(0, |data| data.permissions().mode() & 0o777);
        if mode != 0o644 {
            self.add(who, format!("the photo's mode is {mode:o}, MikoPBX writes 644"));
        }
    }

    fn numbers_stand_once(&mut self) {
        self.unique("m_Extensions", "number");
    }

    fn unique(&mut self, table: &str, column: &str) {
        let mut holders: BTreeMap<String, usize> = BTreeMap::new();
        for (_, row) in self.table(table) {
            *holders.entry(text(&row, column)).or_default() += 1;
        }
        for (shared, count) in holders.into_iter().filter(|(_, count)| *count > 1) {
            self.found.push(format!("{table}.{column} {shared:?} stands {count} times"));
        }
    }

    fn secrets_differ(&mut self, users: &[(i64, Row)]) {
        let names: BTreeSet<String> = users.iter().map(|(_, user)| text(user, "username")).collect();
        let mut secrets = BTreeSet::new();
        let peers = self.table("m_Sip").into_iter().filter(|(_, row)| names.contains(&text(row, "description")));
        let again: Vec<String> =
            peers.filter(|(_, row)| !secrets.insert(text(row, "secret"))).map(|(id, _)| id).collect();
        for id in again {
            self.found.push(format!("m_Sip {id} has the SIP secret of another employee"));
        }
    }

    fn no_orphans(&mut self) {
        let numbers: BTreeSet<String> = self.table("m_Extensions").iter().map(|(_, row)| text(row, "number")).collect();
        let users: BTreeSet<String> = self.table("m_Users").into_iter().map(|(id, _)| id).collect();
        for table in ["m_ExternalPhones", "m_ExtensionForwardingRights", "m_CallQueueMembers", "m_Sip"] {
            for (id, row) in self.table(table) {
                let extension = text(&row, "extension");
                if (table != "m_Sip" || text(&row, "type") == "peer") && !numbers.contains(&extension) {
                    self.found.push(format!("{table} {id} is for {extension}, which does not exist"));
                }
            }
        }
        for (id, row) in self.table("m_Extensions") {
            let user = text(&row, "userid");
            if !user.is_empty() && !users.contains(&user) {
                self.found.push(format!("m_Extensions {id} belongs to user {user}, who does not exist"));
            }
        }
    }

    fn no_stray_photos(&mut self, after: i64) {
        let files: Vec<String> = self.table("files").into_iter().map(|(name, _)| name).collect();
        let shape = regex(r"^avatars/user_([0-9]+)\.jpg$");
        for file in files.iter().filter(|name| name.starts_with("avatars/")) {
            let Some(id) = shape.captures(file).and_then(|found| found[1].parse::<i64>().ok()) else {
                self.found.push(format!("{file} is no photo of MikoPBX's"));
                continue;
            };
            let user = self.rows.get(&("m_Users".to_owned(), id.to_string()));
            if id > after && user.is_none_or(|user| text(user, "avatar").is_empty()) {
                self.found.push(format!("{file} belongs to nobody"));
            }
        }
    }

    fn shape(&mut self, who: &str, what: &str, value: &str, pattern: &str) {
        if !regex(pattern).is_match(value) {
            self.add(who, format!("{what} {value:?} has not the form {pattern}"));
        }
    }

    fn expect(&mut self, who: &str, what: &str, is: &str, wanted: &str) {
        if is != wanted {
            self.add(who, format!("{what} is {is:?}, MikoPBX writes {wanted:?}"));
        }
    }

    fn add(&mut self, who: &str, text: String) {
        self.found.push(format!("{who}: {text}"));
    }

    fn table(&self, name: &str) -> Vec<(String, Row)> {
        let rows = self.rows.iter().filter(|((table, _), _)| table == name);
        rows.map(|((_, id), row)| (id.clone(), row.clone())).collect()
    }

    fn rows_where(&self, name: &str, column: &str, wanted: &str) -> Vec<Row> {
        let rows = self.rows.iter().filter(|((table, _), row)| table == name && value(row, column) == wanted);
        rows.map(|(_, row)| row.clone()).collect()
    }

    fn setting(&self, key: &str) -> Option<String> {
        let row = self.rows.get(&("m_PbxSettings".to_owned(), key.to_owned()))?;
        Some(text(row, "value")).filter(|value| !value.is_empty())
    }
}

fn value<'a>(row: &'a Row, column: &str) -> &'a str {
    row.get(column).map_or("no such column", String::as_str)
}

fn kind<'a>(row: &'a Row, column: &str) -> &'a str {
    kind_of(value(row, column))
}

fn kind_of(value: &str) -> &str {
    value.split(':').next().unwrap_or(value)
}

/// The value as text; empty for NULL.
fn text(row: &Row, column: &str) -> String {
    value(row, column).split_once(':').map_or_else(String::new, |(_, text)| text.to_owned())
}

/// A pattern, compiled once for all tests.
fn regex(pattern: &str) -> Regex {
    static COMPILED: Mutex<BTreeMap<String, Regex>> = Mutex::new(BTreeMap::new());
    let mut compiled = COMPILED.lock().expect("no test ends in here");
    let new = || Regex::new(pattern).expect("a pattern of this file");
    compiled.entry(pattern.to_owned()).or_insert_with(new).clone()
}

fn is_email(text: &str) -> bool {
    text.len() <= 255 && regex(r"^[^\s@]+@[^\s@]+\.[^\s@.]+$").is_match(text)
}

/// The name as Asterisk gets it: Ё and ё become Latin, and only letters, numbers, blanks and `+-.@` stay.
pub(crate) fn caller_id(name: &str) -> String {
    let latin = name.replace('Ё', "E").replace('ё', "e");
    regex(r"[^\p{L}\p{N}\s+\-.@]").replace_all(&latin, "").into_owned()
}

fn lower(text: &str) -> String {
    text.to_lowercase()
}

/// The points MikoPBX's password service gives a SIP secret.
fn secret_score(secret: &str) -> i32 {
    let has = |pattern: &str| regex(pattern).is_match(secret);
    let length = secret.len();
    let mut score = match length {
        16.. => 30,
        12.. => 20,
        8.. => 10,
        _ => i32::try_from(length).unwrap_or(0),
    };
    let classes = ["[a-z]", "[A-Z]", "[0-9]", "[^A-Za-z0-9]"].into_iter().filter(|class| has(class)).count();
    score += 10 * i32::try_from(classes).unwrap_or(0);
    let different = secret.chars().collect::<BTreeSet<char>>().len() * 100 / secret.chars().count().max(1);
    score += match different {
        71.. => 20,
        51.. => 15,
        31.. => 10,
        _ => 5,
    };
    score += if classes >= 3 && length >= 12 { 10 } else { 0 };
    let characters: Vec<char> = secret.chars().collect();
    score -= if characters.windows(3).any(|three| three[0] == three[1] && three[1] == three[2]) { 10 } else { 0 };
    let small = secret.to_lowercase();
    let backwards: String = small.chars().rev().collect();
    let runs =
        ["qwerty", "asdfgh", "zxcvbn", "12345", "23456", "34567", "45678", "56789", "abcde", "bcdef", "cdefg", "defgh"];
    score -= if runs.iter().any(|run| small.contains(run) || backwards.contains(run)) { 10 } else { 0 };
    score -= if has("^[A-Za-z]*$") && length < 10 { 15 } else { 0 };
    score.clamp(0, 100)
}
