//! One server's settings: read from a form, checked, kept as JSON without the password.

use std::collections::{BTreeMap, BTreeSet};

use directory::{Attributes, Security, ServerSettings, Timeouts, Vendor};
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sync_core::person::Field;
use sync_core::phone::PhoneRules;
use sync_core::policy::{BothChanged, Direction, FieldRule, LeaverPolicy, Policy};

use crate::schedule;

/// What a form shows instead of a stored password; coming back it means "keep the stored one".
pub(crate) const HIDDEN_PASSWORD: &str = "xxxxxxxx";
/// Shortest time between two automatic runs, in seconds.
const SHORTEST_INTERVAL: u64 = 30;
/// Longest time between two automatic runs, in seconds: 30 days.
const LONGEST_INTERVAL: u64 = 30 * 24 * 60 * 60;
/// Time between two automatic runs of a new server, in seconds.
pub(crate) const DEFAULT_INTERVAL: u64 = 60;
/// When everybody is compared, of a new server.
pub(crate) const DEFAULT_COMPLETE_AT: &str = "03:00";
/// New people one automatic run may make, of a new server.
const DEFAULT_MOST_NEW: u64 = 100;
/// Most days that can be waited for: ten years.
const MOST_DAYS: u32 = 3650;

/// The settings of one server as `config_save` takes them and `get-server` answers them. A setting that a stored server
/// does not have yet has its default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Settings {
    pub(crate) ldap_type: Vendor,
    pub(crate) server_name: String,
    pub(crate) server_port: u16,
    pub(crate) security: Security,
    pub(crate) ca_certificate: String,
    pub(crate) verify_certificate: bool,
    pub(crate) pinned_certificate: String,
    pub(crate) allow_plain: bool,
    pub(crate) administrative_login: String,
    #[serde(rename = "baseDN")]
    pub(crate) base_dn: String,
    pub(crate) organizational_unit: String,
    pub(crate) user_filter: String,
    pub(crate) attributes: BTreeMap<String, String>,
    pub(crate) update_attributes: bool,
    pub(crate) default_region: String,
    pub(crate) number_from: Option<u64>,
    pub(crate) number_to: Option<u64>,
    pub(crate) forward_to_mobile: bool,
    pub(crate) pool_when_taken: bool,
    /// Which way each field's changes travel.
    pub(crate) field_directions: BTreeMap<Field, Direction>,
    /// What is done with a field that was edited on both sides.
    pub(crate) field_conflicts: BTreeMap<Field, BothChanged>,
    /// Observed days after which the SIP account of somebody who left is switched off.
    pub(crate) stop_leavers_after: Option<u32>,
    /// Observed days after which an employee who left, and whom a synchronisation made, is deleted.
    pub(crate) delete_leavers_after: Option<u32>,
    /// Most new people of one automatic run.
    pub(crate) most_new_people: u64,
    /// Seconds between two automatic runs.
    pub(crate) sync_interval: u64,
    /// Local time, HH:MM, at which an automatic run compares everybody once a day.
    pub(crate) complete_run_at: String,
    /// Local time, HH:MM, from and up to which no automatic run is made; empty: never.
    pub(crate) quiet_from: String,
    pub(crate) quiet_to: String,
}

/// A form that was read.
pub(crate) struct Form {
    /// `None` makes a new server.
    pub(crate) id: Option<i64>,
    pub(crate) settings: Settings,
    /// `None` keeps the stored password.
    pub(crate) password: Option<SecretString>,
    pub(crate) autosync: Option<bool>,
    /// Keys of the form that mean nothing.
    pub(crate) unknown: Vec<String>,
}

/// Bad fields, each with a sentence.
pub(crate) type FieldErrors = Vec<(String, String)>;

/// The form's attribute fields and what they are mapped to; the account status and the employee number are no [`Field`]s.
const ATTRIBUTES: [(&str, Option<Field>); 8] = [
    ("userNameAttribute", Some(Field::Name)),
    ("userExtensionAttribute", Some(Field::Number)),
    ("userMobileAttribute", Some(Field::Mobile)),
    ("userEmailAttribute", Some(Field::Email)),
    ("userAvatarAttribute", Some(Field::Photo)),
    ("userPasswordAttribute", Some(Field::Secret)),
    ("userAccountControl", None),
    ("userEmployeeNumberAttribute", None),
];

impl Default for Settings {
    fn default() -> Settings {
        Settings::preset(Vendor::ActiveDirectory)
    }
}

impl Settings {
    /// What a new server of a type begins with.
    pub(crate) fn preset(vendor: Vendor) -> Settings {
        let attributes = [
            ("userNameAttribute", "displayName"),
            ("userExtensionAttribute", "telephoneNumber"),
            ("userMobileAttribute", "mobile"),
            ("userEmailAttribute", "mail"),
            ("userAvatarAttribute", if vendor == Vendor::ActiveDirectory { "thumbnailPhoto" } else { "jpegPhoto" }),
            (
                "userAccountControl",
                match vendor {
                    Vendor::ActiveDirectory => "userAccountControl",
                    Vendor::DirectoryServer389 | Vendor::FreeIpa => "nsAccountLock",
                    Vendor::OpenLdap => "",
                },
            ),
            ("userPasswordAttribute", ""),
            (
                "userEmployeeNumberAttribute",
                if vendor == Vendor::ActiveDirectory { "employeeID" } else { "employeeNumber" },
            ),
        ];
        Settings {
            ldap_type: vendor,
            server_name: String::new(),
            server_port: 636,
            security: Security::Ldaps,
            ca_certificate: String::new(),
            verify_certificate: true,
            pinned_certificate: String::new(),
            allow_plain: false,
            administrative_login: String::new(),
            base_dn: String::new(),
            organizational_unit: String::new(),
            user_filter: vendor.default_filter().to_owned(),
            attributes: attributes.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            update_attributes: false,
            default_region: String::new(),
            number_from: None,
            number_to: None,
            forward_to_mobile: true,
            pool_when_taken: false,
            field_directions: Field::ALL.map(|field| (field, Direction::default())).into(),
            field_conflicts: Field::ALL.map(|field| (field, BothChanged::default())).into(),
            stop_leavers_after: None,
            delete_leavers_after: None,
            most_new_people: DEFAULT_MOST_NEW,
            sync_interval: DEFAULT_INTERVAL,
            complete_run_at: DEFAULT_COMPLETE_AT.to_owned(),
            quiet_from: String::new(),
            quiet_to: String::new(),
        }
    }

    /// Reads settings kept earlier.
    pub(crate) fn from_stored(text: &str) -> Result<Settings, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Whether both mean the same server, reached the same way: what a stored password was entered for.
    pub(crate) fn same_address(&self, other: &Settings) -> bool {
        let address = |settings: &Settings| (settings.server_name.clone(), settings.server_port, settings.security);
        address(self) == address(other)
    }

    fn attribute(&self, key: &str) -> &str {
        self.attributes.get(key).map_or("", String::as_str)
    }

    /// Mapped fields and their attributes.
    pub(crate) fn mapped(&self) -> BTreeMap<Field, String> {
        let fields = ATTRIBUTES.into_iter().filter_map(|(key, field)| Some((field?, self.attribute(key).to_owned())));
        fields.filter(|(_, attribute)| !attribute.is_empty()).collect()
    }

    /// The settings as the directory wants them.
    pub(crate) fn directory(&self, password: SecretString) -> ServerSettings {
        let hosts = self.server_name.split([',', ';', ' ', '\t', '\n']).map(str::trim).filter(|host| !host.is_empty());
        ServerSettings {
            vendor: self.ldap_type,
            hosts: hosts.map(str::to_owned).collect(),
            port: self.server_port,
            security: self.security,
            ca_certificate: self.ca_certificate.clone(),
            verify_certificate: self.verify_certificate,
            pinned_certificate: parse_pin(&self.pinned_certificate).ok().flatten(),
            allow_plain: self.allow_plain,
            login: self.administrative_login.clone(),
            password,
            base_dn: self.base_dn.clone(),
            organizational_unit: self.organizational_unit.clone(),
            user_filter: self.user_filter.clone(),
            attributes: Attributes {
                name: self.attribute("userNameAttribute").to_owned(),
                number: self.attribute("userExtensionAttribute").to_owned(),
                mobile: self.attribute("userMobileAttribute").to_owned(),
                email: self.attribute("userEmailAttribute").to_owned(),
                photo: self.attribute("userAvatarAttribute").to_owned(),
                secret: self.attribute("userPasswordAttribute").to_owned(),
                employee_number: self.attribute("userEmployeeNumberAttribute").to_owned(),
                account_status: self.attribute("userAccountControl").to_owned(),
            },
            page_size: directory::SMALLEST_PAGE,
            timeouts: Timeouts::default(),
        }
    }

    /// The settings as the plan wants them. `fingerprint` is the one stored with them, empty for a preview.
    pub(crate) fn policy(&self, server_id: i64, fingerprint: &str) -> Policy {
        Policy {
            server_id,
            fingerprint: fingerprint.to_owned(),
            region: self.default_region.clone(),
            attributes: self.mapped(),
            write_back: self.update_attributes,
            forward_to_mobile: self.forward_to_mobile,
            number_from: self.number_from,
            number_to: self.number_to,
            pool_when_taken: self.pool_when_taken,
            rules: Field::ALL.map(|field| (field, self.rule(field))).into(),
            leavers: LeaverPolicy { stop_after: self.stop_leavers_after, delete_after: self.delete_leavers_after },
        }
    }

    fn rule(&self, field: Field) -> FieldRule {
        FieldRule {
            direction: self.field_directions.get(&field).copied().unwrap_or_default(),
            both_changed: self.field_conflicts.get(&field).copied().unwrap_or_default(),
        }
    }

    /// What the links' bases depend on: on the first line where people are looked for, then on a line for each field how
    /// its values are read.
    pub(crate) fn fingerprint(&self) -> String {
        let place = json!([self.ldap_type, self.base_dn, self.organizational_unit, self.user_filter]).to_string();
        let line = |(field, attribute): (Field, String)| match field {
            Field::Mobile => format!("{} {attribute} {}", field.name(), self.default_region),
            _ => format!("{} {attribute}", field.name()),
        };
        [place].into_iter().chain(self.mapped().into_iter().map(line)).collect::<Vec<_>>().join("\n")
    }

    /// The settings as JSON for an answer: never a password.
    pub(crate) fn answer(&self, id: i64, autosync: bool, has_password: bool) -> Value {
        let mut answer = serde_json::to_value(self).unwrap_or_default();
        answer["id"] = id.into();
        answer["autosync"] = autosync.into();
        answer["administrativePassword"] = if has_password { HIDDEN_PASSWORD } else { "" }.into();
        answer
    }
}

impl Form {
    /// The id in a form, if it names a server.
    pub(crate) fn id(body: &Value) -> Result<Option<i64>, (String, String)> {
        match &body["id"] {
            Value::Null => Ok(None),
            Value::String(text) if text.trim().is_empty() => Ok(None),
            Value::String(text) => text.trim().parse().map(Some).map_err(|_| wrong("id", "a server's number")),
            Value::Number(number) if number.as_i64().is_some() => Ok(number.as_i64()),
            _ => Err(wrong("id", "a server's number")),
        }
    }

    /// Reads a form over the stored settings (`None` for a new server): a field that is not in the form keeps its
    /// value. Numbers and booleans may come as strings, as web forms send them.
    pub(crate) fn read(body: &Value, stored: Option<Settings>) -> Result<Form, FieldErrors> {
        let empty = Map::new();
        let object = match body {
            Value::Object(object) => object,
            Value::Null => &empty,
            _ => return Err(vec![(String::new(), "a JSON object with the server's settings is expected".to_owned())]),
        };
        let mut reader = Reader { object, known: BTreeSet::from(["id"]), errors: Vec::new() };
        let vendor = reader.choice::<Vendor>("ldapType", "ActiveDirectory, OpenLDAP, 389DirectoryServer or FreeIPA");
        let mut settings = match (stored, vendor) {
            (Some(stored), vendor) => Settings { ldap_type: vendor.unwrap_or(stored.ldap_type), ..stored },
            (None, vendor) => Settings::preset(vendor.unwrap_or(Vendor::ActiveDirectory)),
        };
        reader.settings(&mut settings);
        let password = reader.password();
        let autosync = reader.boolean("autosync");
        let id = Form::id(body).unwrap_or_else(|error| {
            reader.errors.push(error);
            None
        });
        check(&settings, &mut reader.errors);
        let unknown = object.keys().filter(|key| !reader.known.contains(key.as_str())).cloned().collect();
        if reader.errors.is_empty() {
            Ok(Form { id, settings, password, autosync, unknown })
        } else {
            Err(reader.errors)
        }
    }
}

/// Takes fields out of a form, one type at a time, and remembers what was wrong.
struct Reader<'a> {
    object: &'a Map<String, Value>,
    known: BTreeSet<&'a str>,
    errors: FieldErrors,
}

impl<'a> Reader<'a> {
    fn settings(&mut self, settings: &mut Settings) {
        self.set_text("serverName", &mut settings.server_name);
        self.set_text("caCertificate", &mut settings.ca_certificate);
        self.set_text("pinnedCertificate", &mut settings.pinned_certificate);
        self.set_text("administrativeLogin", &mut settings.administrative_login);
        self.set_text("baseDN", &mut settings.base_dn);
        self.set_text("organizationalUnit", &mut settings.organizational_unit);
        self.set_text("userFilter", &mut settings.user_filter);
        self.set_text("defaultRegion", &mut settings.default_region);
        settings.default_region = settings.default_region.to_ascii_uppercase();
        self.set_boolean("verifyCertificate", &mut settings.verify_certificate);
        self.set_boolean("allowPlain", &mut settings.allow_plain);
        self.set_boolean("updateAttributes", &mut settings.update_attributes);
        self.set_boolean("forwardToMobile", &mut settings.forward_to_mobile);
        self.set_boolean("poolWhenTaken", &mut settings.pool_when_taken);
        self.security(settings);
        if let Some(port) = self.number("serverPort").flatten() {
            match u16::try_from(port) {
                Ok(port) if port > 0 => settings.server_port = port,
                _ => self.errors.push(wrong("serverPort", "a port from 1 to 65535")),
            }
        }
        if let Some(interval) = self.number("syncInterval").flatten() {
            settings.sync_interval = interval;
        }
        self.set_text("completeRunAt", &mut settings.complete_run_at);
        self.set_text("quietFrom", &mut settings.quiet_from);
        self.set_text("quietTo", &mut settings.quiet_to);
        if let Some(from) = self.number("numberFrom") {
            settings.number_from = from;
        }
        if let Some(to) = self.number("numberTo") {
            settings.number_to = to;
        }
        self.days("stopLeaversAfter", &mut settings.stop_leavers_after);
        self.days("deleteLeaversAfter", &mut settings.delete_leavers_after);
        if let Some(most) = self.number("mostNewPeople").flatten() {
            settings.most_new_people = most;
        }
        self.per_field("fieldDirections", "two-way, directory, pbx or off", &mut settings.field_directions);
        self.per_field("fieldConflicts", "newest, directory, pbx or ask", &mut settings.field_conflicts);
        self.attributes(settings);
    }

    /// Days, or never where the field is empty.
    fn days(&mut self, key: &'a str, into: &mut Option<u32>) {
        match self.number(key) {
            Some(None) => *into = None,
            Some(Some(days)) if days <= u64::from(MOST_DAYS) => *into = u32::try_from(days).ok(),
            Some(Some(_)) => self.errors.push(wrong(key, "a number of days up to 3650")),
            None => {}
        }
    }

    /// An object with a word for each field; fields it does not name keep theirs.
    fn per_field<T: for<'de> Deserialize<'de>>(&mut self, key: &'a str, words: &str, into: &mut BTreeMap<Field, T>) {
        let Some(value) = self.get(key) else { return };
        let Value::Object(fields) = value else { return self.errors.push(wrong(key, "an object of fields")) };
        for (name, word) in fields {
            match (Field::from_name(name), T::deserialize(word)) {
                (Some(field), Ok(word)) => drop(into.insert(field, word)),
                (None, _) => self.errors.push((key.to_owned(), format!("there is no field {name:?}"))),
                (_, Err(_)) => self.errors.push((key.to_owned(), format!("{words} is expected for {name}"))),
            }
        }
    }

    /// `security`, or the older `useTLS` whose 1 always meant StartTLS and whose 0 keeps working, with a warning.
    fn security(&mut self, settings: &mut Settings) {
        let older = self.boolean("useTLS");
        if older == Some(false) && !self.object.contains_key("security") && !self.object.contains_key("allowPlain") {
            // The older form's "no TLS" went over the network in the clear, and had no field to say that one knows.
            settings.allow_plain = true;
        }
        let wanted = self
            .choice::<Security>("security", "ldaps, starttls or none")
            .or(older.map(|tls| if tls { Security::StartTls } else { Security::None }));
        if let Some(security) = wanted {
            let standard = |security| if security == Security::Ldaps { 636 } else { 389 };
            if !self.object.contains_key("serverPort") && settings.server_port == standard(settings.security) {
                settings.server_port = standard(security);
            }
            settings.security = security;
        }
    }

    /// The mapping, as an object or as flat fields.
    fn attributes(&mut self, settings: &mut Settings) {
        self.known.insert("attributes");
        let nested = match self.object.get("attributes") {
            None | Some(Value::Null) => None,
            Some(Value::Object(nested)) => Some(nested),
            Some(_) => return self.errors.push(wrong("attributes", "an object of attribute names")),
        };
        for (key, _) in ATTRIBUTES {
            let flat = self.text(key);
            let value = nested.and_then(|nested| nested.get(key)).map_or(flat, |value| self.as_text(key, value));
            if let Some(value) = value {
                settings.attributes.insert(key.to_owned(), value);
            }
        }
    }

    fn password(&mut self) -> Option<SecretString> {
        let password = self.raw_text("administrativePassword");
        let older = self.raw_text("administrativePasswordHidden");
        password
            .or(older.filter(|text| !text.is_empty()))
            .filter(|text| text != HIDDEN_PASSWORD)
            .map(SecretString::from)
    }

    fn get(&mut self, key: &'a str) -> Option<&'a Value> {
        self.known.insert(key);
        self.object.get(key).filter(|value| !value.is_null())
    }

    fn text(&mut self, key: &'a str) -> Option<String> {
        self.raw_text(key).map(|text| text.trim().to_owned())
    }

    fn raw_text(&mut self, key: &'a str) -> Option<String> {
        let value = self.get(key)?;
        match value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => {
                self.errors.push(wrong(key, "a text"));
                None
            }
        }
    }

    fn as_text(&mut self, key: &str, value: &Value) -> Option<String> {
        match value {
            Value::String(text) => Some(text.trim().to_owned()),
            Value::Null => None,
            _ => {
                self.errors.push(wrong(key, "the name of an attribute"));
                None
            }
        }
    }

    fn set_text(&mut self, key: &'a str, into: &mut String) {
        if let Some(text) = self.text(key) {
            *into = text;
        }
    }

    fn set_boolean(&mut self, key: &'a str, into: &mut bool) {
        if let Some(value) = self.boolean(key) {
            *into = value;
        }
    }

    fn boolean(&mut self, key: &'a str) -> Option<bool> {
        let value = self.get(key)?;
        as_boolean(value).or_else(|| {
            self.errors.push(wrong(key, "true or false"));
            None
        })
    }

    /// A number; `Some(None)` when the field is there and empty.
    fn number(&mut self, key: &'a str) -> Option<Option<u64>> {
        self.known.insert(key);
        let number = match self.object.get(key)? {
            Value::Null => return Some(None),
            Value::String(text) if text.trim().is_empty() => return Some(None),
            Value::String(text) => text.trim().parse().ok(),
            Value::Number(number) => number.as_u64(),
            _ => None,
        };
        if number.is_none() {
            self.errors.push(wrong(key, "a whole number"));
        }
        number.map(Some)
    }

    fn choice<T: for<'de> Deserialize<'de>>(&mut self, key: &'a str, choices: &str) -> Option<T> {
        let value = self.get(key)?;
        let chosen = T::deserialize(value).ok();
        if chosen.is_none() {
            self.errors.push(wrong(key, choices));
        }
        chosen
    }
}

/// A boolean as JSON or as a web form sends it.
pub(crate) fn as_boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(value) => Some(*value),
        Value::Number(number) => number.as_u64().filter(|number| *number < 2).map(|number| number == 1),
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "1" | "on" | "true" | "yes" => Some(true),
            "" | "0" | "off" | "false" | "no" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn wrong(field: &str, expected: &str) -> (String, String) {
    (field.to_owned(), format!("{expected} is expected"))
}

fn check(settings: &Settings, errors: &mut FieldErrors) {
    let mut refuse = |field: &str, text: &str| errors.push((field.to_owned(), text.to_owned()));
    if let Err(text) = parse_pin(&settings.pinned_certificate) {
        refuse("pinnedCertificate", text);
    }
    if settings.attribute("userNameAttribute").is_empty() {
        refuse("userNameAttribute", "name the attribute that holds the person's name, for example displayName");
    }
    if !settings.default_region.is_empty() && !PhoneRules::knows_region(&settings.default_region) {
        refuse("defaultRegion", "a country as two letters is expected, for example RU or DE");
    }
    if !(SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(&settings.sync_interval) {
        refuse("syncInterval", "from 30 seconds to 30 days (2592000 seconds) may lie between two automatic runs");
    }
    if schedule::minutes(&settings.complete_run_at).is_none() {
        refuse("completeRunAt", "a time of day is expected, for example 03:00");
    }
    let quiet =
        [&settings.quiet_from, &settings.quiet_to].map(|time| (time.is_empty(), schedule::minutes(time).is_none()));
    match quiet {
        [(true, _), (true, _)] | [(false, false), (false, false)] => {}
        [(_, true), _] => refuse("quietFrom", "a time of day is expected, for example 22:00, or both times empty"),
        _ => refuse("quietTo", "a time of day is expected, for example 06:00, or both times empty"),
    }
    if !(1..=100_000).contains(&settings.most_new_people) {
        refuse("mostNewPeople", "a number from 1 to 100000 is expected");
    }
    if settings.field_directions.get(&Field::Name) == Some(&Direction::Off) {
        refuse("fieldDirections", "the name cannot be left out: new employees need one");
    }
    for (field, number) in [("numberFrom", settings.number_from), ("numberTo", settings.number_to)] {
        if number.is_some_and(|number| !(10..=99_999_999).contains(&number)) {
            refuse(field, "an internal number has 2 to 8 digits");
        }
    }
    if let (Some(from), Some(to)) = (settings.number_from, settings.number_to)
        && from > to
    {
        refuse("numberTo", "the last number is smaller than the first");
    }
}

/// A SHA-256 in hex, with or without colons; empty is no pin.
fn parse_pin(text: &str) -> Result<Option<[u8; 32]>, &'static str> {
    const EXPECTED: &str = "the SHA-256 of a certificate is expected: 64 hexadecimal digits, colons allowed";
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| !matches!(c, ':' | ' '))
        .map(|c| c.to_digit(16).ok_or(EXPECTED))
        .collect::<Result<_, _>>()?;
    if digits.is_empty() {
        return Ok(None);
    }
    let bytes: Vec<u8> =
        digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte * 16 + *digit as u8)).collect();
    if digits.len() % 2 == 1 {
        return Err(EXPECTED);
    }
    bytes.try_into().map(Some).map_err(|_| EXPECTED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use secrecy::ExposeSecret;

    #[track_caller]
    fn errors(body: Value) -> Vec<String> {
        Form::read(&body, None).err().unwrap_or_default().into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn the_older_form_is_taken_too() {
        let body = json!({
            "id": "", "serverName": "ldap.example.test", "serverPort": "389", "useTLS": "1", "ldapType": "OpenLDAP",
            "administrativePasswordHidden": "secret", "userMobileAttribute": "cell", "autosync": "on", "strange": 1,
        });
        let form = Form::read(&body, None).ok().unwrap();
        assert_eq!(form.settings.security, Security::StartTls);
        assert_eq!(form.settings.server_port, 389);
        assert_eq!(form.settings.attribute("userMobileAttribute"), "cell");
        assert_eq!(form.password.unwrap().expose_secret(), "secret");
        assert_eq!((form.id, form.autosync), (None, Some(true)));
        assert_eq!(form.unknown, ["strange"]);
    }

    #[test]
    fn the_older_form_without_tls_keeps_working() {
        let body = json!({"serverName": "ldap.example.test", "useTLS": "0"});
        let settings = Form::read(&body, None).ok().unwrap().settings;
        assert_eq!((settings.security, settings.allow_plain), (Security::None, true));
        let newer = json!({"serverName": "ldap.example.test", "security": "none"});
        assert!(!Form::read(&newer, None).ok().unwrap().settings.allow_plain);
    }

    #[test]
    fn a_missing_field_keeps_its_value_and_an_empty_one_clears_it() {
        let stored = Settings { number_from: Some(300), number_to: Some(400), ..Settings::preset(Vendor::OpenLdap) };
        let body = json!({"numberTo": "", "administrativePassword": "xxxxxxxx"});
        let form = Form::read(&body, Some(stored)).ok().unwrap();
        assert_eq!((form.settings.number_from, form.settings.number_to), (Some(300), None));
        assert!(form.password.is_none());
    }

    #[test]
    fn every_bad_field_is_named() {
        assert_eq!(errors(json!({"serverPort": 0})), ["serverPort"]);
        assert_eq!(errors(json!({"serverPort": "many", "security": "ssl"})), ["security", "serverPort"]);
        assert_eq!(errors(json!({"ldapType": "NDS"})), ["ldapType"]);
        assert_eq!(errors(json!({"verifyCertificate": [1]})), ["verifyCertificate"]);
        assert_eq!(errors(json!({"attributes": "cn"})), ["attributes"]);
        assert_eq!(errors(json!({"attributes": {"userNameAttribute": ""}})), ["userNameAttribute"]);
        assert_eq!(errors(json!({"defaultRegion": "Russia"})), ["defaultRegion"]);
        assert_eq!(errors(json!({"numberFrom": 300, "numberTo": 200})), ["numberTo"]);
        assert_eq!(errors(json!({"syncInterval": 29})), ["syncInterval"]);
        assert_eq!(errors(json!({"syncInterval": 2_592_001})), ["syncInterval"]);
        assert_eq!(errors(json!({"syncInterval": 2_592_000})), [""; 0]);
        assert_eq!(errors(json!({"pinnedCertificate": "abc"})), ["pinnedCertificate"]);
        assert_eq!(errors(json!({"id": "one"})), ["id"]);
        assert_eq!(errors(json!([])), [""]);
    }

    #[test]
    fn a_pin_may_have_colons() {
        let pin = "ab".repeat(32);
        let colons: Vec<String> = std::iter::repeat_n("AB".to_owned(), 32).collect();
        assert_eq!(parse_pin(&pin), parse_pin(&colons.join(":")));
        assert_eq!(parse_pin(""), Ok(None));
    }

    #[test]
    fn stored_settings_may_lack_what_a_later_version_added() {
        let text = r#"{"ldapType": "OpenLDAP", "serverName": "ldap.example.test", "serverPort": 389, "unheardOf": 1}"#;
        let settings = Settings::from_stored(text).unwrap();
        assert_eq!((settings.ldap_type, settings.server_port), (Vendor::OpenLdap, 389));
        assert_eq!((settings.sync_interval, settings.verify_certificate), (DEFAULT_INTERVAL, true));
        assert!(Settings::from_stored("{\"serverPort\": \"many\"}").is_err());
    }

    #[test]
    fn the_address_is_host_port_and_security() {
        let one = Settings::preset(Vendor::OpenLdap);
        assert!(one.same_address(&Settings { base_dn: "dc=example".into(), ..one.clone() }));
        assert!(!one.same_address(&Settings { server_name: "elsewhere".into(), ..one.clone() }));
        assert!(!one.same_address(&Settings { server_port: 6360, ..one.clone() }));
        assert!(!one.same_address(&Settings { security: Security::None, ..one.clone() }));
    }

    #[test]
    fn only_what_the_bases_depend_on_is_in_the_fingerprint() {
        let one = Settings::preset(Vendor::OpenLdap);
        let port = Settings { server_port: 1, update_attributes: true, stop_leavers_after: Some(1), ..one.clone() };
        let base = Settings { base_dn: "dc=example".into(), ..one.clone() };
        assert_eq!(one.fingerprint(), port.fingerprint());
        assert_ne!(one.fingerprint().lines().next(), base.fingerprint().lines().next());
        let region = Settings { default_region: "DE".into(), ..one.clone() };
        let differing: Vec<String> = one
            .fingerprint()
            .lines()
            .zip(region.fingerprint().lines())
            .filter(|(one, other)| one != other)
            .map(|(_, line)| line.to_owned())
            .collect();
        assert_eq!(differing, ["mobile mobile DE"]);
    }

    #[test]
    fn rules_of_fields_are_read_one_by_one() {
        let body = json!({
            "fieldDirections": {"email": "directory", "secret": "off"}, "fieldConflicts": {"mobile": "ask"},
            "stopLeaversAfter": "30", "deleteLeaversAfter": "",
        });
        let settings = Form::read(&body, None).ok().unwrap().settings;
        let policy = settings.policy(1, "");
        assert_eq!(policy.rule(Field::Email).direction, Direction::Directory);
        assert_eq!(policy.rule(Field::Secret).direction, Direction::Off);
        assert_eq!(policy.rule(Field::Mobile), FieldRule { both_changed: BothChanged::Ask, ..FieldRule::default() });
        assert_eq!(policy.leavers, LeaverPolicy { stop_after: Some(30), delete_after: None });
        assert_eq!(errors(json!({"fieldDirections": {"email": "up"}})), ["fieldDirections"]);
        assert_eq!(errors(json!({"fieldDirections": {"shoe": "off"}})), ["fieldDirections"]);
        assert_eq!(errors(json!({"fieldDirections": {"name": "off"}})), ["fieldDirections"]);
        assert_eq!(errors(json!({"fieldConflicts": "ask"})), ["fieldConflicts"]);
        assert_eq!(
            errors(json!({"stopLeaversAfter": 4000, "mostNewPeople": 0})),
            ["stopLeaversAfter", "mostNewPeople"]
        );
    }
}
