//! A server of our own that breaks the rules in ways no real one can be brought to.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Once, mpsc};
use std::thread;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use directory::{LdapDirectory, Security, Vendor};
use sync_core::directory::{
    Changed, Coverage, Directory, DirectoryError, DirectoryErrorKind, DirectorySnapshot, DirectoryWrite, NewValue,
    Position, RawValue, WriteOutcome,
};
use sync_core::person::{DirectoryKey, Field};

use crate::support::{read, settings};

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = (content.len() as u32).to_be_bytes();
    [&[tag, 0x84][..], &length, content].concat()
}

fn message(id: u8, operation: u8, content: &[u8]) -> Vec<u8> {
    tlv(0x30, &[tlv(2, &[id]), tlv(0x60 | operation, content)].concat())
}

fn result(id: u8, operation: u8, code: u8) -> Vec<u8> {
    message(id, operation, &[tlv(10, &[code]), tlv(4, b""), tlv(4, b"")].concat())
}

fn entry(id: u8, dn: &[u8], attributes: &[(&str, &[u8])]) -> Vec<u8> {
    let attributes = attributes
        .iter()
        .map(|(name, value)| tlv(0x30, &[tlv(4, name.as_bytes()), tlv(0x31, &tlv(4, value))].concat()))
        .collect::<Vec<_>>();
    message(id, 4, &[tlv(4, dn), tlv(0x30, &attributes.concat())].concat())
}

fn person(id: u8, number: u32) -> Vec<u8> {
    let uuid = format!("59f20402-0000-103b-8c8a-{number:012}");
    entry(id, format!("cn={number}").as_bytes(), &[("entryUUID", uuid.as_bytes()), ("displayName", b"Ann")])
}

/// Id and operation of the next request; nothing at the end.
fn request(stream: &mut TcpStream) -> Option<(u8, u8)> {
    whole_request(stream).map(|(id, operation, _)| (id, operation))
}

/// The next request with its contents.
fn whole_request(stream: &mut TcpStream) -> Option<(u8, u8, Vec<u8>)> {
    let mut head = [0u8; 2];
    stream.read_exact(&mut head).ok()?;
    let mut length = usize::from(head[1]);
    if length > 0x7f {
        let mut digits = vec![0u8; length & 0x7f];
        stream.read_exact(&mut digits).ok()?;
        length = digits.iter().fold(0, |sum, digit| (sum << 8) | usize::from(*digit));
    }
    let mut body = vec![0u8; length];
    stream.read_exact(&mut body).ok()?;
    Some((body[2], body[3] & 0x1f, body))
}

/// Answers sign-in and root DSE properly, and the first search for people with `answer`; then the connection stays open
/// unless `hang_up`.
fn serve(answer: impl FnOnce(u8, &mut TcpStream) + Send + 'static, hang_up: bool) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        let mut searches = 0;
        let mut answer = Some(answer);
        while let Some((id, operation)) = request(&mut stream) {
            match operation {
                0 => stream.write_all(&result(id, 1, 0)).expect("an answer"),
                3 => {
                    searches += 1;
                    match answer.take_if(|_| searches == 2) {
                        Some(answer) => answer(id, &mut stream),
                        None => stream.write_all(&result(id, 5, 0)).expect("an answer"),
                    }
                    if hang_up && searches == 2 {
                        return;
                    }
                }
                _ => return,
            }
        }
    });
    port
}

fn read_from(port: u16) -> Result<DirectorySnapshot, DirectoryError> {
    let mut settings = settings(port, Security::None);
    settings.attributes.photo.clear();
    settings.timeouts.operation = Duration::from_secs(2);
    read(settings)
}

#[track_caller]
fn check(bytes: fn(u8) -> Vec<u8>, kind: DirectoryErrorKind, expected: &str) {
    // The client may close at the first wrong byte, so the rest may not be sendable.
    let port = serve(move |id, stream| drop(stream.write_all(&bytes(id))), false);
    let error = read_from(port).expect_err(expected);
    assert_eq!(error.kind, kind, "{}", error.message);
    assert!(error.message.contains(expected), "{} does not say {expected}", error.message);
}

#[test]
fn malformed_messages_are_errors_and_not_panics() {
    use DirectoryErrorKind::{Connection, Malformed};
    check(|_| tlv(0x30, &tlv(2, &[1])), Malformed, "truncated message envelope");
    check(|id| message(id, 26, b""), Malformed, "unknown operation");
    check(|id| result(id, 7, 0), Malformed, "answer 7 to request 3");
    check(|id| message(id, 5, b""), Malformed, "truncated result");
    check(|_| vec![0x30, 0x84, 0x7f, 0xff, 0xff, 0xff], Malformed, "2147483647 bytes");
    check(|_| vec![0x30, 0x80, 0, 0], Malformed, "indefinite length");
    check(|_| b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), Malformed, "not LDAP");
    check(|_| vec![0x15, 3, 3, 0, 2, 2, 40], DirectoryErrorKind::Tls, "TLS port");
    check(
        |id| (0..100).fold(tlv(4, b""), |inner, _| tlv(0x30, &inner)).into_iter().chain([id]).collect(),
        Malformed,
        "",
    );
    check(|id| message(id, 4, &(0..100).fold(tlv(4, b""), |inner, _| tlv(0x30, &inner))), Malformed, "nesting");
    check(|id| [person(id, 1), result(0, 24, 52)].concat(), Connection, "result code 52");
    check(|id| person(id, 1), Connection, "did not answer within 2 s");
    check(|id| [person(id, 1), vec![0x30, 0x50, 2]].concat(), Connection, "did not answer within 2 s");
}

#[test]
fn a_search_that_is_refused_is_explained() {
    use DirectoryErrorKind::{Base, Connection, Limit, Other, SignIn};
    check(|id| [person(id, 1), result(id, 5, 3)].concat(), Limit, "time limit");
    check(|id| [person(id, 1), result(id, 5, 4)].concat(), Limit, "size limit");
    check(|id| result(id, 5, 11), Limit, "administrative limit");
    check(|id| result(id, 5, 8), SignIn, "strongerAuthRequired");
    check(|id| result(id, 5, 10), Base, "refers to another server");
    check(|id| result(id, 5, 32), Base, "does not exist");
    check(|id| result(id, 5, 51), Connection, "busy or unavailable");
    check(|id| result(id, 5, 53), Other, "unwillingToPerform");
}

/// Answers every sign-in with `code`.
fn refuse_sign_in(code: u8) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        while let Some((id, operation)) = request(&mut stream) {
            let answer = if operation == 0 { result(id, 1, code) } else { result(id, 5, 0) };
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    });
    port
}

#[test]
fn a_sign_in_that_is_refused_is_explained() {
    #[track_caller]
    fn check(code: u8, kind: DirectoryErrorKind, expected: &str) {
        let port = refuse_sign_in(code);
        let error = read_from(port).expect_err(expected);
        assert_eq!(error.kind, kind, "{}", error.message);
        assert!(error.message.contains(&format!("127.0.0.1:{port}")), "{}", error.message);
        assert!(error.message.contains(expected), "{} does not say {expected}", error.message);
        assert!(!error.message.contains("pbxpass"), "{}", error.message);
    }
    use DirectoryErrorKind::{Connection, SignIn};
    check(8, SignIn, "strong authentication required");
    check(13, SignIn, "demands encryption");
    check(49, SignIn, "wrong login or password");
    check(32, SignIn, "must be a full DN");
    check(48, SignIn, "does not let");
    check(53, SignIn, "unwilling");
    check(52, Connection, "no sign-in at the moment");
    check(80, SignIn, "result code 80");
}

#[test]
fn a_server_that_never_says_a_word_is_not_waited_for() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    for (security, kind) in [
        (Security::None, DirectoryErrorKind::Connection),
        (Security::StartTls, DirectoryErrorKind::Connection),
        (Security::Ldaps, DirectoryErrorKind::Tls),
    ] {
        let mut settings = settings(port, security);
        settings.verify_certificate = false;
        settings.timeouts.connect = Duration::from_secs(1);
        settings.timeouts.operation = Duration::from_secs(1);
        let error = read(settings).expect_err("silence");
        assert_eq!(error.kind, kind, "{security:?}: {}", error.message);
        assert!(error.message.contains("within 1 s"), "{security:?}: {}", error.message);
    }
}

#[test]
fn an_end_in_the_middle_is_an_error() {
    let port = serve(|id, stream| stream.write_all(&person(id, 1)).expect("an entry"), true);
    let error = read_from(port).expect_err("no list");
    assert_eq!(error.kind, DirectoryErrorKind::Connection);
    assert!(error.message.contains("incomplete"), "{}", error.message);
}

#[test]
fn entries_that_are_not_understood_make_the_read_partial() {
    let answer = |id: u8, stream: &mut TcpStream| {
        let enormous = entry(id, b"cn=big", &[("entryUUID", b"x"), ("displayName", &vec![b'x'; 17 << 20])]);
        let parts = [
            person(id, 1),
            entry(id, b"cn=\xff", &[("entryUUID", b"a")]),
            entry(id, b"cn=nameless", &[("displayName", b"Bob")]),
            message(id, 4, b""),
            message(id, 19, &tlv(4, b"ldap://elsewhere/")),
            message(id, 25, b""),
            enormous,
            result(id, 5, 0),
        ];
        stream.write_all(&parts.concat()).expect("an answer");
    };
    let snapshot = read_from(serve(answer, false)).expect("people");
    assert_eq!(snapshot.entries.len(), 1);
    let Coverage::Partial(reason) = &snapshot.coverage else { panic!("not everything was understood") };
    assert!(reason.contains("3 entries could not be understood"), "{reason}");
    assert!(reason.contains("1 entries have no stable identifier"), "{reason}");
    let warnings = snapshot.warnings.join("\n");
    assert!(warnings.contains("cn=\\xff") && warnings.contains("cn=nameless"), "{warnings}");
}

#[test]
fn values_that_are_no_text_are_left_out_with_a_warning() {
    let answer = |id: u8, stream: &mut TcpStream| {
        let crowd: Vec<(&str, &[u8])> =
            vec![("entryUUID", b"2"), ("telephoneNumber;range=0-1", b"201"), ("mail", b" ")];
        let long = "1".repeat(5_000);
        let odd: Vec<(&str, &[u8])> =
            vec![("entryUUID", b"1"), ("mail", b"\xff\xfe"), ("mobile", long.as_bytes()), ("displayName", b"Ann")];
        let answer = [entry(id, b"cn=a", &odd), entry(id, b"cn=b", &crowd), result(id, 5, 0)];
        stream.write_all(&answer.concat()).expect("an answer");
    };
    let snapshot = read_from(serve(answer, false)).expect("people");
    assert_eq!(snapshot.coverage, Coverage::Full);
    let [ann, bob] = &snapshot.entries[..] else { panic!("two entries") };
    assert_eq!(ann.attributes.iter().count(), 1);
    assert_eq!(ann.unusable, [Field::Email, Field::Mobile].into());
    // A blank value is none at all.
    assert_eq!((bob.attributes.iter().count(), &bob.unusable), (0, &[Field::Number].into()));
    let warnings = snapshot.warnings.join("\n");
    for expected in ["mail of cn=a", "mobile of cn=a", "telephoneNumber of cn=b has too many values"] {
        assert!(warnings.contains(expected), "{warnings}");
    }
}

#[test]
fn pages_without_end_are_noticed() {
    // Every answer is an empty page with a cookie for the next one.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        while let Some((id, operation)) = request(&mut stream) {
            let value = tlv(0x30, &[tlv(2, &[0]), tlv(4, b"again")].concat());
            let control = tlv(0x30, &[tlv(4, b"1.2.840.113556.1.4.319"), tlv(4, &value)].concat());
            let done = tlv(0x65, &[tlv(10, &[0]), tlv(4, b""), tlv(4, b"")].concat());
            let page = tlv(0x30, &[tlv(2, &[id]), done, tlv(0xa0, &control)].concat());
            let answer = if operation == 0 { result(id, 1, 0) } else { page };
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    });
    let error = read_from(port).expect_err("no list");
    assert_eq!(error.kind, DirectoryErrorKind::Malformed);
    assert!(error.message.contains("empty pages without end"), "{}", error.message);
}

/// What a domain controller answers to DirSync asked with a cookie of one letter: result code, people, whether there is
/// more, and the next cookie.
type Part = fn(u8) -> (u8, &'static [u32], u8, u8);

fn domain_controller(answer: Part) -> u16 {
    const DIRSYNC: &[u8] = b"1.2.840.113556.1.4.841";
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        while let Some((id, operation, body)) = whole_request(&mut stream) {
            let is_dirsync = body.windows(DIRSYNC.len()).any(|window| window == DIRSYNC);
            let bytes = match (operation, is_dirsync) {
                (0, _) => result(id, 1, 0),
                (3, true) => {
                    let (code, people, more, cookie) = answer(*body.last().expect("a cookie"));
                    let value = tlv(0x30, &[tlv(2, &[more]), tlv(2, &[0]), tlv(4, &[cookie])].concat());
                    let control = tlv(0x30, &[tlv(4, DIRSYNC), tlv(4, &value)].concat());
                    let done = tlv(0x65, &[tlv(10, &[code]), tlv(4, b""), tlv(4, b"")].concat());
                    let guid = |number: &u32| [&[0; 12][..], &number.to_be_bytes()].concat();
                    let person = |number: &u32| match number {
                        0 => entry(id, b"cn=0", &[("name", b"nobody")]),
                        number => entry(id, b"cn=1", &[("objectGUID", &guid(number))]),
                    };
                    let people: Vec<u8> = people.iter().flat_map(person).collect();
                    [people, tlv(0x30, &[tlv(2, &[id]), done, tlv(0xa0, &control)].concat())].concat()
                }
                (3, false) => {
                    let root: &[(&str, &[u8])] =
                        &[("supportedControl", DIRSYNC), ("highestCommittedUSN", b"9"), ("dsServiceName", b"0a")];
                    [entry(id, b"", root), result(id, 5, 0)].concat()
                }
                _ => return,
            };
            if stream.write_all(&bytes).is_err() {
                return;
            }
        }
    });
    port
}

#[test]
fn dirsync_in_parts_is_put_together_or_refused_as_a_whole() {
    #[track_caller]
    fn check(answer: Part, expected: Result<usize, &str>) {
        let mut settings = settings(domain_controller(answer), Security::None);
        settings.vendor = Vendor::ActiveDirectory;
        let since = Position { mark: "0a/7".to_owned(), cookie: STANDARD.encode("a") };
        let found = LdapDirectory::new(settings).changed(&since, 0).expect("an answer");
        match (found, expected) {
            (Changed::Known { changed, present, position }, Ok(people)) => {
                assert_eq!((changed.len(), present), (people, None));
                assert_eq!(position, Position { mark: "0a/9".to_owned(), cookie: STANDARD.encode("z") });
            }
            (Changed::Unknown(reason), Err(part)) => assert!(reason.contains(part), "{reason}"),
            (found, _) => panic!("{found:?} and not {expected:?}"),
        }
    }
    check(|_| (0, &[], 0, b'z'), Ok(0));
    check(|cookie| if cookie == b'a' { (0, &[1, 2], 1, b'b') } else { (0, &[2, 3], 0, b'z') }, Ok(3));
    check(|_| (0, &[1], 1, b'a'), Err("comes to no end"));
    check(|_| (0, &[1, 0], 0, b'z'), Err("1 changed entries could not be understood"));
    check(|_| (12, &[1], 0, b'z'), Err("unavailableCriticalExtension"));
    check(|cookie| if cookie == b'a' { (0, &[1], 1, b'b') } else { (51, &[], 0, b'z') }, Err("busy"));
}

#[test]
fn a_flood_of_entries_is_taken_at_the_pace_of_the_reader() {
    // 64 MiB in one page: the relay lets 8 MiB wait at a time.
    let answer = |id: u8, stream: &mut TcpStream| {
        let filler = vec![b'x'; 64 << 10];
        for number in 0..1024u32 {
            let uuid = format!("{number:08}");
            let one =
                entry(id, b"cn=a", &[("entryUUID", uuid.as_bytes()), ("displayName", b"Ann"), ("mobile", &filler)]);
            stream.write_all(&one).expect("an entry");
        }
        stream.write_all(&result(id, 5, 0)).expect("the end");
    };
    let snapshot = read_from(serve(answer, false)).expect("people");
    assert_eq!(snapshot.entries.len(), 1024);
}

#[test]
fn a_value_added_by_somebody_else_at_the_same_moment_wins() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let (changes, seen) = mpsc::channel();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        // The root DSE, the entry before with no number, the entry after with ours and somebody else's.
        let before: &[(&str, &[u8])] = &[("entryUUID", b"k")];
        let after: &[(&str, &[u8])] = &[("entryUUID", b"k"), ("telephoneNumber", b"201"), ("telephoneNumber", b"777")];
        let mut reads = [&[], before, after].into_iter();
        while let Some((id, operation, body)) = whole_request(&mut stream) {
            let answer = match operation {
                0 => result(id, 1, 0),
                3 => [entry(id, b"cn=a", reads.next().expect("no more reads")), result(id, 5, 0)].concat(),
                6 => {
                    changes.send(body).expect("the test");
                    result(id, 7, 0)
                }
                _ => return,
            };
            stream.write_all(&answer).expect("an answer");
        }
    });
    let write = DirectoryWrite {
        key: DirectoryKey("k".to_owned()),
        dn: "cn=a".to_owned(),
        change_mark: String::new(),
        field: Field::Number,
        value: NewValue::Text { seen: vec![], replaces: None, value: RawValue::text("201") },
    };
    let mut outcomes = Vec::new();
    let mut directory = LdapDirectory::new(settings(port, Security::None));
    directory
        .write(&[write], Path::new("none"), &mut |_, outcome| outcomes.push(outcome.clone()))
        .expect("a connection");
    assert_eq!(outcomes, [WriteOutcome::ChangedMeanwhile]);
    // The connection is kept until then.
    drop(directory);
    // ENUMERATED 0 is add, 1 is delete (RFC 4511, 4.6).
    let changes: Vec<Vec<u8>> = seen.into_iter().collect();
    let holds = |body: &[u8], part: &[u8]| body.windows(part.len()).any(|window| window == part);
    assert_eq!(changes.len(), 2);
    assert!(holds(&changes[0], &[10, 1, 0]) && holds(&changes[0], b"201"));
    assert!(holds(&changes[1], &[10, 1, 1]) && holds(&changes[1], b"201") && !holds(&changes[1], b"777"));
}

/// Panics inside the LDAP library since the count began, on any thread.
fn library_panics() -> &'static AtomicUsize {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let earlier = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if info.location().is_some_and(|place| place.file().contains("ldap3") || place.file().contains("lber")) {
                COUNT.fetch_add(1, Ordering::SeqCst);
            }
            earlier(info);
        }));
    });
    &COUNT
}

#[test]
fn no_flipped_byte_reaches_the_library_unchecked() {
    let before = library_panics().load(Ordering::SeqCst);
    let control = tlv(0x30, &[tlv(4, b"1.2.840.113556.1.4.319"), tlv(1, &[0]), tlv(4, b"x")].concat());
    let sound = move |id: u8| {
        let outcome = [tlv(10, &[0]), tlv(4, b"dc=a"), tlv(4, b"fine"), tlv(0xa3, &tlv(4, b"ldap://a"))].concat();
        let done = tlv(0x30, &[tlv(2, &[id]), tlv(0x65, &outcome), tlv(0xa0, &control)].concat());
        [person(id, 1), done].concat()
    };
    for position in 0..sound(0).len() {
        for change in [0x01, 0x20, 0x80, 0xff] {
            let sound = sound.clone();
            let answer = move |id: u8, stream: &mut TcpStream| {
                let mut bytes = sound(id);
                bytes[position] ^= change;
                drop(stream.write_all(&bytes));
            };
            // Whatever the outcome is, it is one: no panic here, and none hidden in a task.
            let _ = read_from(serve(answer, true));
        }
    }
    assert_eq!(library_panics().load(Ordering::SeqCst), before);
}
