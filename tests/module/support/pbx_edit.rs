//! Edits of the PBX's administrator: the rows as MikoPBX writes them, from outside the plugin.

use rusqlite::{Connection, params};
use serde_json::{Value, json};

use super::employee_check::caller_id;
use super::pbx::{EmployeeRow, Pbx, md5_hex};

impl Pbx {
    /// Renames an employee.
    pub(crate) fn rename(&self, user_id: i64, name: &str) {
        self.edit(user_id, |employee| employee.name = name.to_owned());
    }

    /// Gives an employee another e-mail address, or none.
    pub(crate) fn set_email(&self, user_id: i64, email: &str) {
        self.edit(user_id, |employee| employee.email = email.to_owned());
    }

    /// Gives an employee who has a mobile another one, or none.
    pub(crate) fn set_mobile(&self, user_id: i64, mobile: &str) {
        self.edit(user_id, |employee| employee.mobile = mobile.to_owned());
    }

    /// Gives an employee another internal number.
    pub(crate) fn set_number(&self, user_id: i64, number: &str) {
        self.edit(user_id, |employee| employee.number = number.to_owned());
    }

    fn edit(&self, user_id: i64, change: impl FnOnce(&mut EmployeeRow)) {
        let old = self.employee(user_id);
        let mut new = old.clone();
        change(&mut new);
        let connection = Connection::open(&self.database).expect("the PBX's database");
        let run = |sql: &str, parameters: &[&str]| {
            connection.execute(sql, rusqlite::params_from_iter(parameters)).expect("an edit of the PBX");
        };
        let id = user_id.to_string();
        run("update m_Users set username = ?1, email = ?2 where id = ?3", &[&new.name, &new.email, &id]);
        self.edit_mobile(&connection, &old, &new);
        for column in ["forwarding", "forwardingonbusy", "forwardingonunavailable"] {
            run(
                &format!("update m_ExtensionForwardingRights set {column} = ?2 where {column} = ?1 and ?1 <> ''"),
                &[&old.mobile, &new.mobile],
            );
        }
        let (number, was) = (new.number.as_str(), old.number.as_str());
        run("update m_Sip set extension = ?1, description = ?3 where extension = ?2", &[number, was, &new.name]);
        run("update m_ExtensionForwardingRights set extension = ?1 where extension = ?2", &[number, was]);
        if new.mobile.is_empty() && !old.mobile.is_empty() {
            run("update m_ExtensionForwardingRights set ringlength = 0 where extension = ?1", &[number]);
        }
        for kind in ["SIP", "EXTERNAL"] {
            let (number, mobile) = if kind == "SIP" { (&new.number, "") } else { (&new.mobile, new.mobile.as_str()) };
            let caller = caller_id(&new.name);
            let index = [&new.name, &caller, &new.email, &new.number, mobile].map(|part| part.to_lowercase()).join(" ");
            run(
                "update m_Extensions set number = ?1, callerid = ?2, search_index = ?3 where userid = ?4 and type = ?5",
                &[number, &caller, &index, &id, kind],
            );
        }
    }

    fn edit_mobile(&self, connection: &Connection, old: &EmployeeRow, new: &EmployeeRow) {
        if old.mobile == new.mobile {
            return;
        }
        assert!(!old.mobile.is_empty(), "these tests change and remove mobiles, and give none to those without");
        let id = old.user_id.to_string();
        if new.mobile.is_empty() {
            let sql = "delete from m_ExternalPhones where extension = ?1";
            connection.execute(sql, [&old.mobile]).expect("a phone");
            let sql = "delete from m_Extensions where userid = ?1 and type = 'EXTERNAL'";
            connection.execute(sql, [id]).expect("a mobile");
        } else {
            let sql = "update m_ExternalPhones set extension = ?2, dialstring = ?2 where extension = ?1";
            connection.execute(sql, [&old.mobile, &new.mobile]).expect("a phone");
        }
    }

    /// Gives an employee another SIP secret.
    pub(crate) fn set_secret(&self, user_id: i64, secret: &str) {
        let number = self.employee(user_id).number;
        self.execute("update m_Sip set secret = ?2 where extension = ?1 and type = 'peer'", &[&number, secret]);
    }

    /// The SIP secret of an employee.
    pub(crate) fn secret(&self, user_id: i64) -> String {
        self.peer(user_id, "secret")
    }

    /// Whether the SIP account of an employee is switched off.
    pub(crate) fn is_off(&self, user_id: i64) -> bool {
        self.peer(user_id, "disabled") == "1"
    }

    fn peer(&self, user_id: i64, column: &str) -> String {
        let number = self.employee(user_id).number;
        let sql = format!("select {column} from m_Sip where extension = ?1 and type = 'peer'");
        self.open().query_row(&sql, [number], |row| row.get(0)).expect("a peer")
    }

    /// Gives an employee a photo, or takes it away.
    pub(crate) fn set_photo(&self, user_id: i64, photo: &[u8]) {
        let file = self.media.join(format!("avatars/user_{user_id}.jpg"));
        let column = if photo.is_empty() {
            let _ = std::fs::remove_file(&file);
            String::new()
        } else {
            std::fs::create_dir_all(self.media.join("avatars")).expect("the directory of photos");
            std::fs::write(&file, photo).expect("a photo");
            format!("{{\"path\":\"/avatars/user_{user_id}.jpg\",\"hash\":\"{}\"}}", md5_hex(photo))
        };
        self.execute("update m_Users set avatar = ?2 where id = ?1", &[&user_id.to_string(), &column]);
    }

    /// The bytes of an employee's photo.
    pub(crate) fn photo(&self, user_id: i64) -> Vec<u8> {
        std::fs::read(self.media.join(format!("avatars/user_{user_id}.jpg"))).unwrap_or_default()
    }

    /// Deletes an employee with everything that is theirs.
    pub(crate) fn delete(&self, user_id: i64) {
        let employee = self.employee(user_id);
        let connection = Connection::open(&self.database).expect("the PBX's database");
        for table in ["m_ExtensionForwardingRights", "m_Sip", "m_ExternalPhones"] {
            let sql = format!("delete from {table} where extension in (?1, ?2) and extension <> ''");
            connection.execute(&sql, params![employee.number, employee.mobile]).expect("a row of the employee");
        }
        connection.execute("delete from m_Extensions where userid = ?1", [user_id]).expect("the numbers");
        connection.execute("delete from m_Users where id = ?1", [user_id]).expect("the user");
    }
}

/// What MikoPBX tells its modules of an edit of `m_Users`, `at` a time.
pub(crate) fn told(user_id: i64, column: &str, at: i64) -> Value {
    json!([{
        "source": "ModelsBase->sendChangesToBackend", "model": "MikoPBX\\Common\\Models\\Users",
        "recordId": user_id.to_string(), "action": "afterSave", "changedFields": [column], "at": at,
    }])
}
