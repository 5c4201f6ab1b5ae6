//! Just enough of BER (X.690, as restricted by RFC 4511, 5.1) to look into messages without trusting them.

/// Number of a constructed universal SEQUENCE with its class and form bits.
pub(crate) const SEQUENCE: u8 = 0x30;
/// Universal SET with its class and form bits.
pub(crate) const SET: u8 = 0x31;
/// Universal INTEGER.
pub(crate) const INTEGER: u8 = 0x02;
/// Universal BOOLEAN.
pub(crate) const BOOLEAN: u8 = 0x01;
/// Universal OCTET STRING.
pub(crate) const OCTET_STRING: u8 = 0x04;
/// Universal ENUMERATED.
pub(crate) const ENUMERATED: u8 = 0x0a;
/// The bit that says that an element holds elements.
pub(crate) const CONSTRUCTED: u8 = 0x20;

/// One element: its identifier octet and its contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Element<'a> {
    /// Identifier octet: class, form and number.
    pub tag: u8,
    /// Contents octets.
    pub content: &'a [u8],
}

/// Length of a header and of the contents it announces. `None`: the bytes given do not hold the whole header yet.
pub(crate) fn header(bytes: &[u8]) -> Result<Option<(usize, usize)>, &'static str> {
    let [tag, first, rest @ ..] = bytes else { return Ok(None) };
    if tag & 0x1f == 0x1f {
        return Err("a tag number of more than one octet");
    }
    match *first {
        length @ 0..0x80 => Ok(Some((2, usize::from(length)))),
        0x80 => Err("an indefinite length"),
        octets => {
            let octets = usize::from(octets & 0x7f);
            if octets > 4 {
                return Err("a length of more than four octets");
            }
            let Some(digits) = rest.get(..octets) else { return Ok(None) };
            let length = digits.iter().fold(0usize, |sum, digit| (sum << 8) | usize::from(*digit));
            Ok(Some((2 + octets, length)))
        }
    }
}

/// Takes one element off the front of `bytes`.
pub(crate) fn element(bytes: &[u8]) -> Result<(Element<'_>, &[u8]), &'static str> {
    let (header, length) = header(bytes)?.ok_or("a truncated element")?;
    let end = header.checked_add(length).ok_or("an impossible length")?;
    let content = bytes.get(header..end).ok_or("an element longer than what holds it")?;
    Ok((Element { tag: bytes[0], content }, &bytes[end..]))
}

/// All elements in `bytes`.
pub(crate) fn elements(mut bytes: &[u8]) -> Result<Vec<Element<'_>>, &'static str> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let (next, rest) = element(bytes)?;
        found.push(next);
        bytes = rest;
    }
    Ok(found)
}

/// Refuses contents that are not well-formed all the way down, or nested deeper than `depth` levels.
pub(crate) fn check_nesting(mut bytes: &[u8], depth: usize) -> Result<(), &'static str> {
    while !bytes.is_empty() {
        let (next, rest) = element(bytes)?;
        if next.tag & CONSTRUCTED != 0 {
            let depth = depth.checked_sub(1).ok_or("too many levels of nesting")?;
            check_nesting(next.content, depth)?;
        }
        bytes = rest;
    }
    Ok(())
}

/// The value of a non-negative INTEGER or ENUMERATED of at most four octets.
pub(crate) fn number(element: Element<'_>) -> Result<i32, &'static str> {
    match element.content {
        [] => Err("a number without digits"),
        [first, ..] if first & 0x80 != 0 => Err("a negative number"),
        digits if digits.len() > 4 => Err("a number of more than four octets"),
        digits => Ok(digits.iter().fold(0, |sum, digit| (sum << 8) | i32::from(*digit))),
    }
}

/// An element of at most 65,535 octets, written down.
#[cfg(test)]
pub(crate) fn written(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).expect("contents of a test").to_be_bytes();
    [&[tag, 0x82][..], &length, content].concat()
}
