//! The tests' own tools, tried on known input: the check of employee rows finds every planted fault, and the servers
//! start, let the plugin's account do exactly what it should, and stop.

use std::fs;
use std::process::Command;

use crate::support::directory::Directory;
use crate::support::employee_check::employee_rows_check;
use crate::support::pbx::{Pbx, differences, expected_events, md5_hex};
use crate::support::people::{Someone, crowd};
use crate::support::proxy::{self, Then};
use crate::support::run_unchecked;
use crate::support::servers::{ds389, samba, slapd};
use rusqlite::Connection;

/// The tables of employees, as MikoPBX makes them, and one employee as its web form writes one.
const ONE_EMPLOYEE: &str = r#"
create table m_PbxSettings (key VARCHAR(0) primary key not null, value VARCHAR(0));
create table m_Users (id integer primary key autoincrement not null, email VARCHAR(0), username VARCHAR(0),
  language VARCHAR(0), avatar VARCHAR(0));
create table m_Extensions (id integer primary key autoincrement not null, number VARCHAR(0), type VARCHAR(0),
  callerid VARCHAR(0), userid INTEGER, show_in_phonebook VARCHAR(1) default '1', public_access VARCHAR(1) default '1',
  is_general_user_number VARCHAR(1) default '0', search_index VARCHAR(0) default '');
create table m_Sip (id integer primary key autoincrement not null, uniqid VARCHAR(0), disabled VARCHAR(1) not null,
  extension VARCHAR(0), type VARCHAR(0), registration_type VARCHAR(0), host VARCHAR(0), port INTEGER,
  username VARCHAR(0), secret VARCHAR(0), transport VARCHAR(0), outbound_proxy VARCHAR(0), fromuser VARCHAR(0),
  fromdomain VARCHAR(0), nat VARCHAR(0), dtmfmode VARCHAR(0), qualifyfreq INTEGER, qualify VARCHAR(1),
  networkfilterid INTEGER, manualattributes VARCHAR(0), disablefromuser VARCHAR(1), noregister VARCHAR(1),
  description VARCHAR(0), enableRecording INTEGER default 1, weakSecret INTEGER default 0);
create table m_ExternalPhones (id integer primary key autoincrement not null, extension VARCHAR(0), uniqid VARCHAR(0),
  dialstring VARCHAR(0), manualdialplanincoming VARCHAR(0), manualdialplanoutgoing VARCHAR(0),
  disabled VARCHAR(1) not null);
create table m_ExtensionForwardingRights (id integer primary key autoincrement not null, extension VARCHAR(0),
  forwarding VARCHAR(0), forwardingonbusy VARCHAR(0), forwardingonunavailable VARCHAR(0), ringlength INTEGER);
create table m_CallQueueMembers (id integer primary key autoincrement not null, queue VARCHAR(0), extension VARCHAR(0));
insert into m_PbxSettings values ('PBXLanguage', 'ru-ru');
insert into m_Users values (113, 'p.o-brien@example.com', 'Пётр O''Брайен', 'ru-ru', '');
insert into m_Extensions values (180, '250', 'SIP', 'Пeтр OБрайен', 113, '1', '1', '1',
  'пётр o''брайен пeтр oбрайен p.o-brien@example.com 250 ');
insert into m_Extensions values (181, '79161234567', 'EXTERNAL', 'Пeтр OБрайен', 113, '1', '1', '1',
  'пётр o''брайен пeтр oбрайен p.o-brien@example.com 250 79161234567');
insert into m_Sip (id, uniqid, disabled, extension, type, registration_type, host, port, username, secret, transport,
  outbound_proxy, fromuser, fromdomain, nat, dtmfmode, qualifyfreq, qualify, networkfilterid, manualattributes,
  disablefromuser, noregister, description)
  values (78, 'SIP-PHONE-206AE18E', '0', '250', 'peer', '', '', 5060, '', 'Kj8sHd72LmQp4Xz9Vb3T', 'udp,tcp', '', '',
  '', '', 'auto', 60, '1', null, '', '0', '0', 'Пётр O''Брайен');
insert into m_ExternalPhones values (9, '79161234567', 'EXTERNAL-0A1B2C3D', '79161234567', '', '', '0');
insert into m_ExtensionForwardingRights values (27, '250', '79161234567', '79161234567', '79161234567', 45);
"#;

/// A statement that plants one fault, and words of the sentence that must be found.
const FAULTS: &[(&str, &str)] = &[
    ("update m_Users set language = 'en-en'", "language"),
    ("update m_Users set email = null", "m_Users.email"),
    ("update m_Users set email = 'nobody'", "is not one"),
    ("update m_Users set avatar = null", "m_Users.avatar"),
    ("update m_Users set avatar = '/avatars/user_113.jpg'", "cannot be read"),
    ("update m_Users set username = ' '", "blanks"),
    ("update m_Users set username = '<script>x'", "refuses to save"),
    ("update m_Extensions set callerid = 'Пётр OБрайен' where id = 180", "SIP callerid"),
    ("update m_Extensions set callerid = 'Peter' where id = 181", "EXTERNAL callerid"),
    ("update m_Extensions set search_index = trim(search_index) where id = 180", "SIP search_index"),
    ("update m_Extensions set search_index = '' where id = 181", "EXTERNAL search_index"),
    ("update m_Extensions set is_general_user_number = '0' where id = 181", "is_general_user_number"),
    ("update m_Extensions set public_access = '0' where id = 180", "public_access"),
    ("update m_Extensions set show_in_phonebook = null where id = 180", "show_in_phonebook"),
    ("update m_Extensions set number = '999' where id = 180", "emergencies"),
    ("update m_Extensions set number = '7' where id = 180", "2 to 8 digits"),
    ("update m_Extensions set userid = 'x113' where id = 181", "who does not exist"),
    ("update m_Extensions set number = '+79161234567' where id = 181", "mobile"),
    ("insert into m_Extensions (number, type) values ('250', 'QUEUE')", "stands 2 times"),
    ("insert into m_Extensions (number, type, userid) values ('251', 'SIP', 113)", "expected one SIP"),
    ("delete from m_Extensions where userid = 113 and type = 'SIP'", "expected one SIP"),
    ("delete from m_Sip", "0 rows of m_Sip"),
    ("update m_Sip set port = '5060x'", "m_Sip.port"),
    ("update m_Sip set transport = 'udp'", "m_Sip.transport"),
    ("update m_Sip set networkfilterid = 0", "networkfilterid"),
    ("update m_Sip set registration_type = null", "registration_type"),
    ("update m_Sip set enableRecording = 0", "enableRecording"),
    ("update m_Sip set description = 'Пeтр OБрайен'", "m_Sip.description"),
    ("update m_Sip set uniqid = 'SIP-PHONE-206ae18e'", "m_Sip.uniqid"),
    ("update m_Sip set secret = '12345'", "MikoPBX refuses"),
    ("update m_Sip set secret = 'aaaaaaaa'", "scores"),
    ("update m_Sip set secret = ''", "0 bytes"),
    (
        "insert into m_Sip (uniqid, disabled, extension, type) values ('SIP-PHONE-206AE18E', '0', '77', 'friend')",
        "uniqid",
    ),
    ("insert into m_Sip (uniqid, disabled, extension, type) values ('SIP-PHONE-206AE18F', '0', '77', 'peer')", "77"),
    ("delete from m_ExternalPhones", "0 rows of m_ExternalPhones"),
    ("update m_ExternalPhones set dialstring = ''", "dialstring"),
    ("update m_ExternalPhones set uniqid = 'SIP-PHONE-0A1B2C3D'", "m_ExternalPhones.uniqid"),
    ("update m_ExternalPhones set manualdialplanincoming = null", "manualdialplanincoming"),
    ("update m_ExternalPhones set disabled = '1'", "m_ExternalPhones.disabled"),
    ("delete from m_ExtensionForwardingRights", "0 rows of m_ExtensionForwardingRights"),
    ("update m_ExtensionForwardingRights set ringlength = 0", "ringlength"),
    ("update m_ExtensionForwardingRights set forwarding = null", "forwarding"),
    ("update m_ExtensionForwardingRights set forwarding = '250'", "own number"),
    ("update m_ExtensionForwardingRights set forwarding = '+79161234567'", "not of the form"),
    ("update m_ExtensionForwardingRights set forwardingonbusy = '444'", "does not exist"),
    ("update m_ExtensionForwardingRights set forwardingonbusy = ''", "none or all"),
    ("insert into m_CallQueueMembers (queue, extension) values ('Q', '444')", "m_CallQueueMembers"),
];

#[test]
fn an_employee_as_mikopbx_writes_one_passes() {
    let (_files, pbx) = one_employee();
    assert_eq!(employee_rows_check(&pbx, 112), Vec::<String>::new());
}

#[test]
fn every_planted_fault_is_found() {
    for (statement, words) in FAULTS {
        let (_files, pbx) = one_employee();
        pbx.execute(statement, &[]);
        let found = employee_rows_check(&pbx, 112).join("\n");
        assert!(found.contains(words), "after {statement:?} nothing says {words:?}:\n{found}");
    }
}

#[test]
fn photos_are_compared_with_their_files() {
    let photo = Someone::new("peter", "Peter").photo_bytes();
    let stored = |bytes: &[u8]| format!(r#"{{"path":"/avatars/user_113.jpg","hash":"{}"}}"#, md5_hex(bytes));
    let check = |avatar: &str, bytes: &[u8], words: Option<&str>| {
        let (_files, pbx) = one_employee();
        fs::create_dir_all(pbx.media.join("avatars")).expect("a directory for photos");
        fs::write(pbx.media.join("avatars/user_113.jpg"), bytes).expect("a photo");
        pbx.execute("update m_Users set avatar = ?1", &[avatar]);
        let found = employee_rows_check(&pbx, 112).join("\n");
        match words {
            None => assert_eq!(found, ""),
            Some(words) => assert!(found.contains(words), "nothing says {words:?}: {found}"),
        }
    };
    check(&stored(&photo), &photo, None);
    check(&stored(b"another"), &photo, Some("m_Users.avatar"));
    check(&stored(&photo[..900]), &photo[..900], Some("at least 1024"));
    check(&stored(&[7; 2000]), &[7; 2000], Some("of no kind"));
    check("", &photo, Some("belongs to nobody"));
}

#[test]
fn differences_name_rows_columns_and_events() {
    let (_files, pbx) = one_employee();
    let before = pbx.dump();
    assert!(differences(&before, &pbx.dump()).is_empty());
    pbx.execute("update m_Users set email = 'new@example.com'", &[]);
    pbx.execute("delete from m_ExternalPhones", &[]);
    pbx.execute("insert into m_Extensions (id, number) values (500, '300')", &[]);
    let after = pbx.dump();
    let events: Vec<String> = expected_events(&before, &after)
        .into_iter()
        .map(|(model, id, action)| format!("{model} {id} {action}"))
        .collect();
    assert_eq!(events, ["Extensions 500 afterSave", "ExternalPhones 9 afterDelete", "Users 113 afterSave"]);
    let changed = differences(&before, &after).into_iter().find(|difference| difference.table == "m_Users");
    let changed = changed.expect("a difference in m_Users");
    assert_eq!((changed.column.as_str(), changed.new.as_deref()), ("email", Some("text:new@example.com")));
}

#[test]
fn slapd_serves_and_stops() {
    let Some(server) = slapd::start(&crowd(30)) else { return };
    check_server(&server, "displayName");
    let pid = server.guard.pid();
    drop(server);
    assert!(!fs::exists(format!("/proc/{pid}")).expect("/proc can be read"), "slapd still runs as {pid}");
}

#[test]
fn samba_serves_and_stops() {
    let Some(server) = samba::start(&crowd(30), &samba::Options::default()) else { return };
    check_server(&server, "mobile");
    let home = server.guard.pid();
    drop(server);
    assert!(!fs::exists(format!("/proc/{home}")).expect("/proc can be read"), "Samba still runs as {home}");
}

#[test]
fn ds389_serves_and_stops() {
    let Some(server) = ds389::start(&crowd(30)) else { return };
    check_server(&server, "displayName");
    let pid = server.guard.pid();
    drop(server);
    assert!(!fs::exists(format!("/proc/{pid}")).expect("/proc can be read"), "ns-slapd still runs as {pid}");
}

#[test]
fn the_relay_passes_a_part_and_then_closes() {
    let Some(server) = slapd::start(&crowd(200)) else { return };
    let entries = |port: u16| {
        let mut search = Command::new("ldapsearch");
        search.args(["-LLL", "-x", "-D", &server.service.0, "-w", &server.service.1, "-b", &server.people, "-H"]);
        let output = run_unchecked(search.arg(format!("ldap://127.0.0.1:{port}")).arg("uid"), "");
        (output.status.success(), String::from_utf8_lossy(&output.stdout).matches("dn: uid=").count())
    };
    let relay = |bytes| proxy::start((server.host.clone(), server.port), bytes, Then::Close);
    assert_eq!(entries(relay(usize::MAX)), (true, 200));
    let (complete, found) = entries(relay(6_000));
    assert!(!complete && (1..200).contains(&found), "{found} entries, complete: {complete}");
}

/// Everyone is there; the plugin's account may write the number and may not write `forbidden`.
fn check_server(server: &Directory, forbidden: &str) {
    let names = server.by_login("displayName");
    assert_eq!(names.len(), 30);
    assert_eq!(names["person00002"], ["Zoë Müller 2"]);
    assert!(server.service_may_not_write("person00001", forbidden), "{forbidden} is writable for the plugin's account");
    assert!(!server.service_may_not_write("person00003", "telephoneNumber"), "the number is not writable");
    let before = server.dump();
    assert_eq!(before, server.dump());
    server.set("person00001", "telephoneNumber", "260");
    assert_eq!(server.values("person00001", "telephoneNumber"), ["260"]);
    assert_ne!(before, server.dump());
}

fn one_employee() -> (tempfile::TempDir, Pbx) {
    let files = tempfile::tempdir().expect("a temporary directory");
    let pbx = Pbx { database: files.path().join("mikopbx.db"), media: files.path().join("media") };
    let connection = Connection::open(&pbx.database).expect("a database");
    connection.execute_batch(ONE_EMPLOYEE).expect("the tables of employees");
    (files, pbx)
}
