//! A PBX's database for the demo and for tests: MikoPBX's tables with the content a new installation has, and three
//! employees made by an old version (docs/MIKOPBX.md).
//!
//! Call these functions only in a process that has not loaded the plugin library: the library brings its own copy of
//! SQLite, and two copies with the same file open break each other's locks (<https://sqlite.org/howtocorrupt.html>,
//! section 2.2.1).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags};

/// Tables, rows and counters.
const CONTENT: &str = include_str!("../../assets/demo/pbx.sql");

/// The photos of the three employees, by `m_Users.id`.
const PHOTOS: [(u32, &[u8]); 3] = [
    (110, include_bytes!("../../assets/demo/user_110.jpg")),
    (111, include_bytes!("../../assets/demo/user_111.jpg")),
    (112, include_bytes!("../../assets/demo/user_112.jpg")),
];

/// How `m_Sip` looked before MikoPBX could take caller id and DID from other SIP headers.
const OLDER_SHAPE: &str = "
    ALTER TABLE m_Sip DROP COLUMN cid_source;
    ALTER TABLE m_Sip DROP COLUMN cid_custom_header;
    ALTER TABLE m_Sip DROP COLUMN cid_parser_start;
    ALTER TABLE m_Sip DROP COLUMN cid_parser_end;
    ALTER TABLE m_Sip DROP COLUMN cid_parser_regex;
    ALTER TABLE m_Sip DROP COLUMN did_source;
    ALTER TABLE m_Sip DROP COLUMN did_custom_header;
    ALTER TABLE m_Sip DROP COLUMN did_parser_start;
    ALTER TABLE m_Sip DROP COLUMN did_parser_end;
    ALTER TABLE m_Sip DROP COLUMN did_parser_regex;
    ALTER TABLE m_Sip DROP COLUMN cid_did_debug;
    ALTER TABLE m_Sip ADD COLUMN receive_calls_without_auth VARCHAR(1) NULL;
";

/// Why there is no demo PBX.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PbxError {
    /// A file is there already; it could be somebody's PBX.
    #[error("{} exists already; choose another place for the demo PBX", .0.display())]
    Exists(PathBuf),
    /// The database could not be made.
    #[error("the demo PBX's database {} cannot be made: {source}", path.display())]
    Database {
        /// The database.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A photo could not be written.
    #[error("{} cannot be written: {source}", path.display())]
    Media {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Makes the database of a demo PBX whose language is `language` (`PBXLanguage`, for example `en-en`), and the photos of
/// its employees below `media`. The database uses a rollback journal, as one that MikoPBX ships does.
///
/// To be called only in processes that have not loaded the plugin library (see the module's documentation).
pub fn create(database: &Path, media: &Path, language: &str) -> Result<(), PbxError> {
    make(database, media, language, "")
}

/// The same in the shape of an older MikoPBX: `m_Sip` has none of the columns `cid_*` and `did_*`, and has
/// `receive_calls_without_auth`.
///
/// To be called only in processes that have not loaded the plugin library (see the module's documentation).
pub fn create_older(database: &Path, media: &Path, language: &str) -> Result<(), PbxError> {
    make(database, media, language, OLDER_SHAPE)
}

fn make(database: &Path, media: &Path, language: &str, reshape: &str) -> Result<(), PbxError> {
    if database.exists() {
        return Err(PbxError::Exists(database.to_owned()));
    }
    write_photos(media)?;
    fill(database, language, reshape).map_err(|source| PbxError::Database { path: database.to_owned(), source })
}

fn fill(database: &Path, language: &str, reshape: &str) -> rusqlite::Result<()> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(database, flags)?;
    let transaction = connection.transaction()?;
    transaction.execute_batch(CONTENT)?;
    transaction.execute_batch(reshape)?;
    transaction.execute("UPDATE m_PbxSettings SET value = ?1 WHERE key = 'PBXLanguage'", [language])?;
    transaction.commit()?;
    connection.close().map_err(|(_, error)| error)
}

fn write_photos(media: &Path) -> Result<(), PbxError> {
    let failed = |path: &Path, source| PbxError::Media { path: path.to_owned(), source };
    let avatars = media.join("avatars");
    fs::create_dir_all(&avatars).map_err(|error| failed(&avatars, error))?;
    for (id, photo) in PHOTOS {
        let path = avatars.join(format!("user_{id}.jpg"));
        fs::write(&path, photo).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(create: fn(&Path, &Path, &str) -> Result<(), PbxError>) -> (tempfile::TempDir, Connection) {
        let place = tempfile::tempdir().expect("a temporary directory");
        let database = place.path().join("mikopbx.db");
        create(&database, &place.path().join("media"), "ru-ru").expect("a demo PBX");
        let connection = Connection::open(database).expect("the database");
        (place, connection)
    }

    /// `name type notnull default pk` of each column.
    fn columns(connection: &Connection, table: &str) -> Vec<String> {
        let sql = "SELECT name || ' ' || type || ' ' || \"notnull\" || ' ' || coalesce(dflt_value, '-') || ' ' || pk
                   FROM pragma_table_info(?1)";
        let mut statement = connection.prepare(sql).expect(sql);
        let rows = statement.query_map([table], |row| row.get(0)).expect(sql);
        rows.collect::<Result<_, _>>().expect(sql)
    }

    #[track_caller]
    fn text(connection: &Connection, sql: &str) -> String {
        connection.query_row(sql, [], |row| row.get(0)).expect(sql)
    }

    #[test]
    fn the_tables_of_employees_have_mikopbx_s_shape() {
        let (_place, pbx) = made(create);
        let facts: [(&str, &[&str]); 5] = [
            (
                "m_Users",
                &[
                    "id INTEGER 1 - 1",
                    "email VARCHAR(0) 0 - 0",
                    "username VARCHAR(0) 0 - 0",
                    "language VARCHAR(0) 0 - 0",
                    "avatar VARCHAR(0) 0 - 0",
                ],
            ),
            (
                "m_Extensions",
                &[
                    "id INTEGER 1 - 1",
                    "number VARCHAR(0) 0 - 0",
                    "type VARCHAR(0) 0 - 0",
                    "callerid VARCHAR(0) 0 - 0",
                    "userid INTEGER 0 - 0",
                    "show_in_phonebook VARCHAR(1) 0 \"1\" 0",
                    "public_access VARCHAR(1) 0 \"1\" 0",
                    "is_general_user_number VARCHAR(1) 0 \"0\" 0",
                    "search_index VARCHAR(0) 0 \"\" 0",
                ],
            ),
            (
                "m_ExternalPhones",
                &[
                    "id INTEGER 1 - 1",
                    "extension VARCHAR(0) 0 - 0",
                    "uniqid VARCHAR(0) 0 - 0",
                    "dialstring VARCHAR(0) 0 - 0",
                    "manualdialplanincoming VARCHAR(0) 0 - 0",
                    "manualdialplanoutgoing VARCHAR(0) 0 - 0",
                    "disabled VARCHAR(1) 1 - 0",
                ],
            ),
            (
                "m_ExtensionForwardingRights",
                &[
                    "id INTEGER 1 - 1",
                    "extension VARCHAR(0) 0 - 0",
                    "forwarding VARCHAR(0) 0 - 0",
                    "forwardingonbusy VARCHAR(0) 0 - 0",
                    "forwardingonunavailable VARCHAR(0) 0 - 0",
                    "ringlength INTEGER 0 - 0",
                ],
            ),
            ("m_PbxSettings", &["key VARCHAR(0) 1 - 1", "value VARCHAR(0) 0 - 0"]),
        ];
        for (table, expected) in facts {
            assert_eq!(columns(&pbx, table), expected, "{table}");
        }
        let sip = columns(&pbx, "m_Sip");
        assert_eq!(sip.len(), 36);
        for column in [
            "disabled VARCHAR(1) 1 - 0",
            "port INTEGER 0 - 0",
            "disablefromuser VARCHAR(1) 0 \"0\" 0",
            "enableRecording INTEGER 0 \"1\" 0",
            "cid_source VARCHAR(0) 0 \"default\" 0",
            "cid_did_debug VARCHAR(1) 0 \"0\" 0",
        ] {
            assert!(sip.iter().any(|have| have == column), "{column} in {sip:?}");
        }
    }

    #[test]
    fn the_content_is_that_of_a_new_installation() {
        let (place, pbx) = made(create);
        for (sql, expected) in [
            (
                "SELECT group_concat(id || ' ' || username, ', ') FROM m_Users",
                "110 Smith James, 111 Brown Brandon, 112 Collins Melanie",
            ),
            ("SELECT group_concat(number) FROM m_Extensions WHERE type = 'SIP' ORDER BY id", "201,202,203"),
            (
                "SELECT number || userid || typeof(userid) FROM m_Extensions WHERE number = '89261111111'",
                "89261111111110integer",
            ),
            (
                "SELECT group_concat(type || count) FROM (SELECT type, ' ' || count(*) AS count FROM m_Extensions
                GROUP BY type ORDER BY type)",
                "CONFERENCE 1,DIALPLAN APPLICATION 3,EXTERNAL 3,IVR MENU 1,PARKING 21,QUEUE 2,SIP 3,SYSTEM 4",
            ),
            ("SELECT value FROM m_PbxSettings WHERE key = 'PBXLanguage'", "ru-ru"),
            ("SELECT value FROM m_PbxSettings WHERE key = 'PBXInternalExtensionLength'", "3"),
            ("SELECT numberbeginswith || ' ' || restnumbers FROM m_OutgoingRoutingTable", "(7|8) 10"),
            ("SELECT '' || seq FROM sqlite_sequence WHERE name = 'm_Users'", "112"),
            ("PRAGMA journal_mode", "delete"),
            ("PRAGMA integrity_check", "ok"),
            (
                "SELECT '' || count(*) FROM m_CallQueueMembers AS m JOIN m_CallQueues AS q ON q.uniqid = m.queue
                JOIN m_Extensions AS e ON e.number = m.extension",
                "4",
            ),
            (
                "SELECT '' || count(*) FROM m_IvrMenuActions AS a JOIN m_IvrMenu AS i ON i.uniqid = a.ivr_menu_id
                JOIN m_Extensions AS e ON e.number = a.extension",
                "2",
            ),
        ] {
            assert_eq!(text(&pbx, sql), expected, "{sql}");
        }
        pbx.execute("INSERT INTO m_Users (username) VALUES ('next')", []).expect("an insert");
        assert_eq!(pbx.last_insert_rowid(), 113);
        for avatar in ["user_110.jpg", "user_111.jpg", "user_112.jpg"] {
            let photo = fs::read(place.path().join("media/avatars").join(avatar)).expect(avatar);
            assert!(photo.starts_with(&[0xff, 0xd8, 0xff]) && photo.len() >= 1024, "{avatar}");
        }
    }

    #[test]
    fn the_older_shape_lacks_the_newer_columns() {
        let (_place, pbx) = made(create_older);
        let sip = columns(&pbx, "m_Sip");
        assert!(sip.iter().any(|column| column == "receive_calls_without_auth VARCHAR(1) 0 - 0"), "{sip:?}");
        assert!(!sip.iter().any(|column| column.starts_with("cid_") || column.starts_with("did_")), "{sip:?}");
        assert_eq!(sip.len(), 26);
        assert_eq!(text(&pbx, "SELECT group_concat(extension) FROM m_Sip WHERE type = 'peer'"), "201,202,203");
    }

    #[test]
    fn an_existing_file_is_left_alone() {
        let place = tempfile::tempdir().expect("a temporary directory");
        let database = place.path().join("mikopbx.db");
        fs::write(&database, "somebody's").expect("a file");
        assert!(matches!(create(&database, place.path(), "en-en"), Err(PbxError::Exists(_))));
        assert_eq!(fs::read(&database).expect("the file"), b"somebody's");
    }
}
