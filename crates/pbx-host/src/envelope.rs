//! The envelope of every answer, which is the PBX's own.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::loader::Answer;

/// `{"result": …, "data": …, "messages": {"error": […], "info": […]}}`.
#[derive(Clone, Debug, Deserialize)]
pub struct Envelope {
    /// True exactly when the status is 0.
    pub result: bool,
    /// What was asked for.
    #[serde(default)]
    pub data: Value,
    /// Sentences for the administrator.
    #[serde(default)]
    messages: Messages,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Messages {
    #[serde(default)]
    error: Vec<Value>,
    #[serde(default)]
    info: Vec<Value>,
}

impl Envelope {
    /// Reads the envelope of an answer; the error says what is wrong with it.
    pub fn of(answer: &Answer) -> Result<Envelope, String> {
        let envelope: Envelope = serde_json::from_str(&answer.json)
            .map_err(|error| format!("the library's answer is no envelope: {error}"))?;
        if envelope.result != (answer.status == 0) {
            return Err(format!(
                "the library contradicts itself: status {} with result {}",
                answer.status, envelope.result
            ));
        }
        Ok(envelope)
    }

    /// The errors as sentences; one about a field names the field.
    pub fn errors(&self) -> Vec<String> {
        self.messages.error.iter().map(sentence).collect()
    }

    /// The information as sentences.
    pub fn info(&self) -> Vec<String> {
        self.messages.info.iter().map(sentence).collect()
    }
}

/// An envelope that says why something could not be done, as JSON text.
pub fn refusal(text: &str) -> String {
    json!({"result": false, "data": null, "messages": {"error": [text], "info": []}}).to_string()
}

fn sentence(message: &Value) -> String {
    match (message, message["field"].as_str(), message["text"].as_str()) {
        (Value::String(text), ..) => text.clone(),
        (_, Some(field), Some(text)) => format!("{field}: {text}"),
        (other, ..) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: i32, json: &str) -> Answer {
        Answer { status, json: json.to_owned() }
    }

    #[test]
    fn errors_name_their_field() {
        let json = r#"{"result":false,"data":null,"messages":{"error":["no",{"field":"baseDN","text":"is empty"}]}}"#;
        let envelope = Envelope::of(&answer(1, json)).unwrap();
        assert_eq!(envelope.errors(), ["no", "baseDN: is empty"]);
        assert!(envelope.info().is_empty());
    }

    #[test]
    fn result_and_status_must_agree() {
        assert!(Envelope::of(&answer(4, r#"{"result":true}"#)).unwrap_err().contains("contradicts itself"));
        assert!(Envelope::of(&answer(0, "[]")).unwrap_err().contains("no envelope"));
        assert!(Envelope::of(&answer(0, r#"{"result":true}"#)).is_ok());
    }

    #[test]
    fn a_refusal_is_an_envelope() {
        let envelope = Envelope::of(&answer(1, &refusal("a \"quoted\" reason"))).unwrap();
        assert_eq!(envelope.errors(), ["a \"quoted\" reason"]);
    }
}
