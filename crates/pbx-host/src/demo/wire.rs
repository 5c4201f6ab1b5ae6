//! LDAP messages on a stream (RFC 4511, section 5.1). Requests are those of `rasn-ldap`; responses are declared here,
//! because its result codes end before those of later RFCs, such as assertionFailed.

use std::io;

use rasn::prelude::*;
use rasn_ldap::{Controls, LdapMessage, SearchResultEntry};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The result codes this directory gives (RFC 4511, appendix A; RFC 4528).
#[derive(AsnType, Encode, Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[rasn(enumerated)]
pub(super) enum Code {
    Success = 0,
    ProtocolError = 2,
    SizeLimitExceeded = 4,
    CompareFalse = 5,
    CompareTrue = 6,
    AuthMethodNotSupported = 7,
    StrongerAuthRequired = 8,
    UnavailableCriticalExtension = 12,
    NoSuchAttribute = 16,
    UndefinedAttributeType = 17,
    InappropriateMatching = 18,
    ConstraintViolation = 19,
    AttributeOrValueExists = 20,
    InvalidAttributeSyntax = 21,
    NoSuchObject = 32,
    InvalidDnSyntax = 34,
    InvalidCredentials = 49,
    InsufficientAccessRights = 50,
    UnwillingToPerform = 53,
    NamingViolation = 64,
    ObjectClassViolation = 65,
    AssertionFailed = 122,
}

/// LDAPResult, with the two fields that an extended response adds.
#[derive(AsnType, Encode, Debug, Clone, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) result_code: Code,
    pub(super) matched_dn: OctetString,
    pub(super) diagnostic_message: OctetString,
    #[rasn(tag(10))]
    pub(super) response_name: Option<OctetString>,
    #[rasn(tag(11))]
    pub(super) response_value: Option<OctetString>,
}

impl Outcome {
    /// A result with its diagnostic message.
    pub(super) fn new(result_code: Code, message: impl Into<String>) -> Outcome {
        Outcome {
            result_code,
            matched_dn: OctetString::from_static(b""),
            diagnostic_message: message.into().into_bytes().into(),
            response_name: None,
            response_value: None,
        }
    }

    /// The same result, naming the nearest entry that exists.
    pub(super) fn matched(mut self, dn: &str) -> Outcome {
        self.matched_dn = dn.as_bytes().to_vec().into();
        self
    }
}

/// The operations a server sends.
#[derive(AsnType, Encode, Debug, Clone, PartialEq, Eq)]
#[rasn(choice)]
pub(super) enum ResponseOp {
    #[rasn(tag(application, 1))]
    Bind(Outcome),
    #[rasn(tag(application, 4))]
    SearchEntry(SearchResultEntry),
    #[rasn(tag(application, 5))]
    SearchDone(Outcome),
    #[rasn(tag(application, 7))]
    Modify(Outcome),
    #[rasn(tag(application, 9))]
    Add(Outcome),
    #[rasn(tag(application, 11))]
    Delete(Outcome),
    #[rasn(tag(application, 13))]
    ModifyDn(Outcome),
    #[rasn(tag(application, 15))]
    Compare(Outcome),
    #[rasn(tag(application, 24))]
    Extended(Outcome),
}

/// The envelope of a response.
#[derive(AsnType, Encode, Debug, Clone, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) message_id: u32,
    pub(super) protocol_op: ResponseOp,
    #[rasn(tag(0))]
    pub(super) controls: Option<Controls>,
}

impl Response {
    /// A response without controls.
    pub(super) fn new(message_id: u32, protocol_op: ResponseOp) -> Response {
        Response { message_id, protocol_op, controls: None }
    }

    /// The unsolicited notice that ends a session (RFC 4511, section 4.4.1).
    pub(super) fn disconnection(message: &str) -> Response {
        let mut outcome = Outcome::new(Code::ProtocolError, message);
        outcome.response_name = Some(b"1.3.6.1.4.1.1466.20036".to_vec().into());
        Response::new(0, ResponseOp::Extended(outcome))
    }

    /// The bytes to send.
    pub(super) fn encoded(&self) -> io::Result<Vec<u8>> {
        rasn::ber::encode(self).map_err(|error| io::Error::other(error.to_string()))
    }
}

/// Reads one message of at most `limit` bytes; `None` at the end of the stream. A length that is not definite, or is over
/// the limit, is an error before anything is allocated for it.
pub(super) async fn read_message(
    stream: &mut (impl AsyncRead + Unpin),
    limit: usize,
) -> io::Result<Option<LdapMessage>> {
    let mut message = vec![0; 2];
    if stream.read(&mut message[..1]).await? == 0 {
        return Ok(None);
    }
    stream.read_exact(&mut message[1..]).await?;
    if message[0] != 0x30 {
        return Err(malformed("a message does not begin with a sequence"));
    }
    let length = match message[1] {
        short @ 0..=0x7f => usize::from(short),
        long @ 0x81..=0x84 => {
            let mut octets = [0; 4];
            let octets = &mut octets[..usize::from(long - 0x80)];
            stream.read_exact(octets).await?;
            message.extend_from_slice(octets);
            octets.iter().fold(0, |length, octet| length << 8 | usize::from(*octet))
        }
        _ => return Err(malformed("a message has no usable length")),
    };
    if length > limit {
        return Err(malformed("a message is larger than this server accepts"));
    }
    let header = message.len();
    message.resize(header + length, 0);
    stream.read_exact(&mut message[header..]).await?;
    rasn::ber::decode(&message).map(Some).map_err(|_| malformed("a message cannot be decoded"))
}

fn malformed(text: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
