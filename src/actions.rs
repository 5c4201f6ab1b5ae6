//! The actions of the admin page.

use plugin_abi::status::ldap_sync_status::*;
use secrecy::SecretString;
use serde_json::{Value, json};
use sync_core::host::Host;
use sync_core::journal::{Journal, PeopleQuery, RunRecord, ServerRecord};

use crate::answer::{Answer, Failure};
use crate::plugin::Plugin;
use crate::settings::{Form, Settings, as_boolean};
use crate::{VERSION, browse, conflicts, held, orders, people, runs};

/// Runs listed by `get-runs`, at most.
const RUNS_LISTED: u32 = 100;
/// Changes listed by `get-run`, at most.
const CHANGES_LISTED: u32 = 10_000;

type Action = fn(&Plugin, &Value) -> Result<Answer, Failure>;

/// One action: its name, the keys its body may have, and what serves it. Where the keys are `None` the body is a server's
/// form, whose reader names unknown keys itself.
struct Served {
    name: &'static str,
    keys: Option<&'static [&'static str]>,
    serve: Action,
}

const fn served(name: &'static str, keys: &'static [&'static str], serve: Action) -> Served {
    Served { name, keys: Some(keys), serve }
}

const fn served_with_form(name: &'static str, serve: Action) -> Served {
    Served { name, keys: None, serve }
}

/// Every action served.
const ACTIONS: [Served; 31] = [
    served("get-actions", &[], get_actions),
    served("get-servers", &[], get_servers),
    served("get-server", &["id"], get_server),
    served("delete-server", &["id"], delete_server),
    served("set-autosync", &["id", "autosync"], set_autosync),
    served_with_form("test-connection", test_connection),
    served_with_form("get-directory-tree", browse::tree),
    served_with_form("get-directory-schema", browse::schema),
    served("get-photo", &["id", "directoryId"], browse::photo),
    served_with_form("get-available-ldap-users", runs::available),
    served("preview-sync", &["id"], runs::preview),
    served("sync-ldap-users", &["id"], runs::synchronise),
    served("start-sync", &["id", "planId", "heldRunId"], orders::start),
    served("apply-plan", &["planId"], orders::apply_plan),
    served("get-disabled-ldap-users", &["id"], people::departed),
    served("get-server-conflicts", &["id"], conflicts::list),
    served("resolve-conflict", &["recordId", "choice", "userId"], conflicts::resolve),
    served("delete-server-conflict", &["recordId"], conflicts::delete),
    served("delete-server-conflicts", &["id"], conflicts::delete_all),
    served("get-decisions", &["id"], conflicts::decisions),
    served("delete-decision", &["recordId"], conflicts::delete_decision),
    served("get-held-run", &["runId"], held::show),
    served("approve-held-run", &["runId"], held::approve),
    served("reject-held-run", &["runId"], held::reject),
    served("get-status", &[], get_status),
    served("get-people", &["id", "search", "page", "perPage", "sort"], people::list),
    served("explain-person", &["userId"], people::explain),
    served("get-runs", &["id"], get_runs),
    served("get-run", &["runId"], get_run),
    served("export-run", &["runId"], export_run),
    served("cancel-run", &["runId"], cancel_run),
];

/// Serves one action. Keys of the body that mean nothing are named in the answer.
pub(crate) fn serve(plugin: &Plugin, action: &str, body: &Value) -> Result<Answer, Failure> {
    let empty = serde_json::Map::new();
    let object = match body {
        Value::Null => &empty,
        Value::Object(object) => object,
        _ => return Err(Failure::argument("a JSON object is expected")),
    };
    let Some(served) = ACTIONS.iter().find(|served| served.name == action) else {
        let shown: String = action.chars().take(64).collect();
        return Err(Failure::argument(format!("there is no action {shown:?}; get-actions names those there are")));
    };
    let known = |key: &str| served.keys.is_none_or(|keys| keys.contains(&key));
    let unknown: Vec<String> = object.keys().filter(|key| !known(key)).cloned().collect();
    match (served.serve)(plugin, body) {
        Ok(answer) => Ok(answer.with_info(unknown_keys(&unknown))),
        Err(failure) => Err(failure.with_info(unknown_keys(&unknown))),
    }
}

fn get_actions(_: &Plugin, _: &Value) -> Result<Answer, Failure> {
    let names: Vec<&str> = ACTIONS.iter().map(|served| served.name).collect();
    Ok(Answer::new(json!(names)))
}

/// The server `id`, or the failure that says there is none.
pub(crate) fn server(journal: &Journal, id: i64) -> Result<ServerRecord, Failure> {
    journal.server(id)?.ok_or_else(|| Failure::field("id", format!("there is no server {id}")))
}

/// The number of a server or of a record in a body.
pub(crate) fn required_id(body: &Value, key: &str) -> Result<i64, Failure> {
    let number = match &body[key] {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.ok_or_else(|| Failure::field(key, "a number is expected"))
}

/// The stored settings of a server.
pub(crate) fn stored_settings(record: &ServerRecord) -> Result<Settings, Failure> {
    Settings::from_stored(&record.settings).map_err(|error| {
        let text = format!("the settings of server {} are damaged; save them again: {error}", record.id);
        Failure::new(LDAP_SYNC_DATABASE, text)
    })
}

/// A sentence for keys of a body that mean nothing.
pub(crate) fn unknown_keys(keys: &[String]) -> Vec<String> {
    if keys.is_empty() { Vec::new() } else { vec![format!("not known and ignored: {}", keys.join(", "))] }
}

/// Sentences about settings that work but that somebody should know about.
pub(crate) fn warnings(settings: &Settings) -> Vec<String> {
    let mut warnings = Vec::new();
    if settings.security == directory::Security::None {
        warnings.push("the connection is not encrypted: passwords and people's data can be read on the way".to_owned());
    } else if !settings.verify_certificate && settings.pinned_certificate.is_empty() {
        warnings.push(
            "the server's certificate is not verified: anybody in between can read and change everything".to_owned(),
        );
    }
    if settings.attributes.get("userPasswordAttribute").is_some_and(|attribute| !attribute.is_empty()) {
        warnings.push(
            "SIP secrets stand in the directory as readable text: everybody who may read the attribute can use the \
             employees' telephone accounts. Let nobody but this login read it"
                .to_owned(),
        );
    }
    warnings
}

/// The stored server a body names, if it names one.
pub(crate) fn optional_server(journal: &Journal, body: &Value) -> Result<Option<ServerRecord>, Failure> {
    let id = Form::id(body).map_err(|(field, text)| Failure::field(&field, text))?;
    id.map(|id| server(journal, id)).transpose()
}

/// The settings a body asks for: those of the stored server it names, with the fields it carries on top. The stored
/// password goes nowhere but to the server it was entered for.
pub(crate) fn form_or_stored(journal: &Journal, body: &Value) -> Result<(Form, SecretString), Failure> {
    let stored = optional_server(journal, body)?;
    let kept = stored.as_ref().map(stored_settings).transpose()?;
    let form = Form::read(body, kept.clone()).map_err(|errors| Failure::fields(errors, Vec::new()))?;
    let password = match (&form.password, stored.map(|record| record.id)) {
        (Some(password), _) => password.clone(),
        (None, Some(id)) if journal.has_password(id)? => {
            if kept.is_some_and(|kept| !kept.same_address(&form.settings)) {
                let text = "enter the password again: the server's address has changed";
                return Err(Failure::field("administrativePassword", text));
            }
            journal.password(id)?.unwrap_or_default()
        }
        (None, _) => SecretString::default(),
    };
    Ok((form, password))
}

fn get_servers(plugin: &Plugin, _: &Value) -> Result<Answer, Failure> {
    let journal = plugin.journal()?;
    let servers: Result<Vec<Value>, Failure> = journal
        .servers()?
        .iter()
        .map(|record| match stored_settings(record) {
            Ok(settings) => server_answer(&journal, record, &settings),
            Err(damaged) => Ok(damaged_row(record, &damaged)),
        })
        .collect();
    Ok(Answer::new(servers?))
}

/// A server whose settings cannot be read, in a list of servers: it keeps no other from being shown.
fn damaged_row(record: &ServerRecord, damaged: &Failure) -> Value {
    json!({"id": record.id, "autosync": record.autosync, "error": damaged.to_string()})
}

fn get_server(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let journal = plugin.journal()?;
    let record = server(&journal, required_id(body, "id")?)?;
    let settings = stored_settings(&record)?;
    Ok(Answer::new(server_answer(&journal, &record, &settings)?).with_info(warnings(&settings)))
}

fn server_answer(journal: &Journal, record: &ServerRecord, settings: &Settings) -> Result<Value, Failure> {
    Ok(settings.answer(record.id, record.autosync, journal.has_password(record.id)?))
}

fn delete_server(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let id = required_id(body, "id")?;
    let mut journal = plugin.journal()?;
    server(&journal, id)?;
    if journal.open_intents()?.iter().any(|intent| intent.server_id == id) {
        // What a process that died had written must be settled and announced before its traces go.
        let _lock = plugin.run_lock()?;
        runs::recover(plugin, &mut journal)?;
    }
    journal.delete_server(id)?;
    let info = "the server and its links are deleted; its employees stay on the PBX".to_owned();
    Ok(Answer::new(json!({"id": id})).with_info([info]))
}

fn set_autosync(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let id = required_id(body, "id")?;
    let autosync =
        as_boolean(&body["autosync"]).ok_or_else(|| Failure::field("autosync", "true or false is expected"))?;
    let mut journal = plugin.journal()?;
    let record = server(&journal, id)?;
    journal.set_autosync(id, autosync)?;
    let waits = autosync && !record.approved_first_run;
    let info = "the first run of a server is made by hand: preview it, then synchronise; after that it goes by itself";
    Ok(Answer::new(json!({"id": id, "autosync": autosync})).with_info(waits.then(|| info.to_owned())))
}

/// The settings a body asks for, ready for use: fields with which no directory can be asked are named.
pub(crate) fn checked_form(journal: &Journal, body: &Value) -> Result<(Form, directory::ServerSettings), Failure> {
    let (form, password) = form_or_stored(journal, body)?;
    let settings = form.settings.directory(password);
    let errors = directory::validate(&settings);
    if errors.is_empty() {
        return Ok((form, settings));
    }
    let errors = errors.into_iter().map(|(field, text)| (field.to_owned(), text)).collect();
    Err(Failure::fields(errors, unknown_keys(&form.unknown)))
}

fn test_connection(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let (form, settings) = checked_form(&plugin.journal()?, body)?;
    let steps = directory::test_connection(&settings, plugin.host.now());
    let failed = steps.iter().find(|step| !step.ok).map(|step| step.text.clone());
    let data = json!({"steps": steps});
    match failed {
        Some(text) => Err(Failure::new(LDAP_SYNC_DIRECTORY, text).with_data(data)),
        None => Ok(Answer::new(data).with_info(warnings(&form.settings)).with_info(unknown_keys(&form.unknown))),
    }
}

fn get_status(plugin: &Plugin, _: &Value) -> Result<Answer, Failure> {
    let journal = plugin.journal()?;
    let servers: Result<Vec<Value>, Failure> =
        journal.servers()?.iter().map(|record| status_of(&journal, record)).collect();
    Ok(Answer::new(json!({"version": VERSION, "servers": servers?})))
}

fn status_of(journal: &Journal, record: &ServerRecord) -> Result<Value, Failure> {
    let people = PeopleQuery { server_id: Some(record.id), limit: 1, ..PeopleQuery::default() };
    let (_, linked) = journal.people(&people)?;
    let last = journal.current_run(record.id)?;
    let held = journal.held(record.id)?.filter(|held| !held.rejected);
    let mut status = json!({
        "id": record.id,
        "autosync": record.autosync,
        "syncedEmployees": linked,
        "lastRun": last.as_ref().map(run_row),
        "nextRun": record.autosync.then(|| runs::next_run(record)),
        "waitsForFirstRun": !record.approved_first_run,
        "heldRun": held.as_ref().map(held::row),
    });
    match stored_settings(record) {
        Ok(settings) => {
            status["provider"] = json!(settings.ldap_type);
            status["server"] = settings.server_name.into();
        }
        Err(damaged) => status["error"] = damaged.to_string().into(),
    }
    Ok(status)
}

fn get_runs(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let journal = plugin.journal()?;
    let record = server(&journal, required_id(body, "id")?)?;
    let rows: Vec<Value> = journal.runs(record.id, RUNS_LISTED)?.iter().map(run_row).collect();
    Ok(Answer::new(rows))
}

fn run_row(run: &RunRecord) -> Value {
    let counts: Value = serde_json::from_str(&run.counts_json).unwrap_or_default();
    let progress = json!({"done": run.done, "total": run.total});
    json!({
        "runId": run.id,
        "serverId": run.server_id,
        "kind": run.kind,
        "startedAt": run.started,
        "endedAt": run.ended,
        "state": if run.queued { "queued" } else { &run.state },
        "summary": run.summary,
        "counts": if run.state == "running" { progress } else { counts },
        "error": run.error,
    })
}

fn run_record(journal: &Journal, body: &Value) -> Result<RunRecord, Failure> {
    let id = required_id(body, "runId")?;
    journal.run(id)?.ok_or_else(|| Failure::field("runId", format!("there is no run {id}")))
}

fn get_run(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    run_with_changes(plugin, body, CHANGES_LISTED)
}

/// `export-run`: a run with all its changes.
fn export_run(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    run_with_changes(plugin, body, u32::MAX)
}

fn run_with_changes(plugin: &Plugin, body: &Value, most: u32) -> Result<Answer, Failure> {
    let journal = plugin.journal()?;
    let run = run_record(&journal, body)?;
    let changes = journal.changes(run.id, 0, most)?;
    let mut row = run_row(&run);
    row["changes"] = changes.iter().map(people::change_row).collect();
    row["changeCount"] = journal.change_count(run.id)?.into();
    Ok(Answer::new(row))
}

fn cancel_run(plugin: &Plugin, body: &Value) -> Result<Answer, Failure> {
    let mut journal = plugin.journal()?;
    let run = run_record(&journal, body)?;
    // A run that its process left "running" is nobody's to stop: where the run lock is free, it is closed.
    if !run.queued
        && let Ok(_lock) = plugin.run_lock()
        && journal.close_abandoned_runs(plugin.host.now())? > 0
    {
        let info =
            "the program that made the run had ended in the middle; what it had written is settled by the next run";
        return Ok(Answer::new(json!({"runId": run.id})).with_info([info.to_owned()]));
    }
    if journal.request_cancel(run.id, plugin.host.now())? {
        Ok(Answer::new(json!({"runId": run.id})).with_info(["the run stops after the present batch".to_owned()]))
    } else {
        Err(Failure::new(LDAP_SYNC_REFUSED, format!("run {} has ended already", run.id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::{Callbacks, silent};
    use crate::settings::HIDDEN_PASSWORD;

    struct Module {
        _dir: tempfile::TempDir,
        plugin: Plugin,
    }

    impl Module {
        fn new() -> Module {
            let dir = tempfile::tempdir().unwrap();
            let place = |name: &str| dir.path().join(name);
            let config = json!({"moduleDir": dir.path(), "pbxDatabase": place("none.db"), "mediaDir": place("media")});
            let plugin = Plugin::open(&config, Callbacks::new(silent())).unwrap();
            plugin.install().unwrap();
            Module { _dir: dir, plugin }
        }

        /// Saves a server with a password; nobody listens at its address.
        fn server(&self) -> i64 {
            let body = json!({
                "ldapType": "OpenLDAP", "serverName": "127.0.0.1", "serverPort": 1, "security": "none",
                "administrativeLogin": "cn=pbx", "administrativePassword": "secret", "baseDN": "dc=example",
            });
            self.plugin.config_save(&body).unwrap().data["id"].as_i64().unwrap()
        }

        fn damage(&self, id: i64) {
            self.plugin.journal().unwrap().save_server(Some(id), "{not JSON", false, None, "").unwrap();
        }
    }

    #[track_caller]
    fn assert_asks_for_the_password(answer: Result<Answer, Failure>) {
        let failure = answer.unwrap_err();
        assert_eq!(failure.status as i32, LDAP_SYNC_INVALID_ARGUMENT as i32);
        let text = "administrativePassword: enter the password again: the server's address has changed";
        assert_eq!(failure.to_string(), text);
    }

    #[test]
    fn the_stored_password_goes_to_no_other_address() {
        let module = Module::new();
        let id = module.server();
        let moved = [json!({"serverName": "127.0.0.2"}), json!({"serverPort": 2}), json!({"security": "starttls"})];
        for action in ["test-connection", "get-available-ldap-users", "get-directory-tree", "get-directory-schema"] {
            for change in &moved {
                let mut body = change.clone();
                body["id"] = id.into();
                assert_asks_for_the_password(serve(&module.plugin, action, &body));
                body["administrativePassword"] = HIDDEN_PASSWORD.into();
                assert_asks_for_the_password(serve(&module.plugin, action, &body));
            }
        }
        // At its own address, or with a password of its own, the attempt is made.
        let own = json!({"id": id, "serverName": "127.0.0.1", "baseDN": "dc=other"});
        let other = json!({"id": id, "serverPort": 2, "administrativePassword": "another"});
        for body in [own, other] {
            let failure = serve(&module.plugin, "test-connection", &body).unwrap_err();
            assert_eq!(failure.status as i32, LDAP_SYNC_DIRECTORY as i32, "{failure}");
        }
    }

    #[test]
    fn saving_another_address_keeps_the_password_and_says_so() {
        let module = Module::new();
        let id = module.server();
        let told = |body: Value| {
            let info = module.plugin.config_save(&body).unwrap().info;
            info.iter().any(|text| text.contains("stored password"))
        };
        assert!(!told(json!({"id": id, "baseDN": "dc=other"})));
        assert!(told(json!({"id": id, "serverName": "127.0.0.3"})));
        assert!(!told(json!({"id": id, "serverName": "127.0.0.4", "administrativePassword": "another"})));
        assert!(module.plugin.journal().unwrap().has_password(id).unwrap());
    }

    #[test]
    fn a_damaged_server_hides_no_other() {
        let module = Module::new();
        let (damaged, sound) = (module.server(), module.server());
        module.damage(damaged);
        let servers = get_servers(&module.plugin, &Value::Null).unwrap().data;
        let status = get_status(&module.plugin, &Value::Null).unwrap().data;
        for rows in [&servers, &status["servers"]] {
            assert_eq!((&rows[0]["id"], &rows[1]["id"]), (&json!(damaged), &json!(sound)));
            assert!(rows[0]["error"].as_str().unwrap().contains("save them again"), "{rows}");
            assert!(rows[1]["error"].is_null());
        }
        assert_eq!(status["servers"][1]["server"], "127.0.0.1");
    }

    #[test]
    fn a_damaged_server_is_mended_by_saving_it_again() {
        let module = Module::new();
        let id = module.server();
        module.damage(id);
        let body = json!({
            "id": id, "ldapType": "OpenLDAP", "serverName": "127.0.0.1", "security": "none",
            "administrativeLogin": "cn=pbx", "baseDN": "dc=new",
        });
        let answer = module.plugin.config_save(&body).unwrap();
        assert!(answer.info.iter().any(|text| text.contains("could not be read")), "{:?}", answer.info);
        let server = get_server(&module.plugin, &json!({"id": id})).unwrap().data;
        assert_eq!((&server["baseDN"], &server["administrativePassword"]), (&json!("dc=new"), &json!(HIDDEN_PASSWORD)));
    }
}
