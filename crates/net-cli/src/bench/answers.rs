//! What came back on one connection, compared with what was sent.

use bytes::Bytes;
use net_core::{Message, MessageKind};

use super::{
    flight::{Flight, Sent},
    payloads::Payloads,
};
use crate::{
    failure::{Failure, Step},
    options::WireFormat,
};

/// What came back on one connection, compared with what was sent: all of it, unchanged, in order.
#[derive(Debug)]
pub(crate) struct Answers {
    payloads: Payloads,
    format: WireFormat,
    /// Each answer arrives with the boundaries it was sent with.
    whole: bool,
    received: u64,
    /// Bytes of the answer that is arriving, where messages have no boundaries.
    offset: usize,
}

impl Answers {
    pub(crate) fn new(payloads: Payloads, format: WireFormat, whole: bool) -> Self {
        Self { payloads, format, whole, received: 0, offset: 0 }
    }

    /// The payload of the message with this number.
    pub(crate) fn payload(&self, number: u64) -> Bytes {
        self.payloads.get(number)
    }

    /// Compares what came back; returns how many answers are thereby complete.
    pub(crate) fn take(&mut self, received: Bytes) -> Result<u64, Failure> {
        let payload = match self.format {
            WireFormat::Raw => received,
            WireFormat::Message => match self.read(received)? {
                Some(payload) => payload,
                None => return Ok(0),
            },
        };
        if !self.whole {
            return self.take_part(&payload);
        }
        if payload.len() != self.payloads.len() || !self.payloads.holds(self.received, 0, &payload) {
            return Err(self.changed());
        }
        self.received += 1;
        Ok(1)
    }

    /// Finds the message in flight whose answer came back, where answers may be lost, come twice and out of order.
    pub(crate) fn find(&self, received: Bytes, flight: &mut Flight) -> Result<Option<Sent>, Failure> {
        let (id, payload) = match self.format {
            WireFormat::Raw => (None, received),
            WireFormat::Message => {
                let message = decode(received)?;
                match message.kind() {
                    MessageKind::Response => (Some(message.id()), message.into_payload()),
                    MessageKind::Heartbeat => return Ok(None),
                    kind => {
                        let what = format!("{kind:?} {} where an answer is due", message.id());
                        return Err(Failure::new(Step::Receive, what));
                    }
                }
            }
        };
        let holds = |number| payload.len() == self.payloads.len() && self.payloads.holds(number, 0, &payload);
        let Some(id) = id else { return Ok(flight.land(holds)) };
        match flight.land(|number| number == id) {
            Some(sent) if !holds(sent.number) => Err(self.changed()),
            landed => Ok(landed),
        }
    }

    /// The payload of an answer; `None` where the message is none.
    fn read(&self, received: Bytes) -> Result<Option<Bytes>, Failure> {
        let message = decode(received)?;
        match message.kind() {
            MessageKind::Heartbeat => Ok(None),
            MessageKind::Response if message.id() == self.received => Ok(Some(message.into_payload())),
            kind => {
                let what = format!("{kind:?} {} where answer {} is due", message.id(), self.received);
                Err(Failure::new(Step::Receive, what))
            }
        }
    }

    /// What arrives may be a part of an answer, or several.
    fn take_part(&mut self, mut rest: &[u8]) -> Result<u64, Failure> {
        let before = self.received;
        while !rest.is_empty() {
            let (part, behind) = rest.split_at(rest.len().min(self.payloads.len() - self.offset));
            if part.is_empty() || !self.payloads.holds(self.received, self.offset, part) {
                return Err(self.changed());
            }
            self.offset += part.len();
            if self.offset == self.payloads.len() {
                (self.offset, self.received) = (0, self.received + 1);
            }
            rest = behind;
        }
        Ok(self.received - before)
    }

    fn changed(&self) -> Failure {
        Failure::new(Step::Receive, format!("answer {} came back changed", self.received))
            .hint("is it an echo server, with the same --framing and --format?")
    }
}

fn decode(received: Bytes) -> Result<Message, Failure> {
    Message::decode(received).map_err(|error| {
        Failure::new(Step::Receive, error).hint("do both sides use the same --framing and --format?")
    })
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    fn answers(format: WireFormat, whole: bool) -> Answers {
        Answers::new(Payloads::new(10, 16), format, whole)
    }

    #[test]
    fn answers_are_whole_unchanged_and_in_order() {
        let sent = |number| answers(WireFormat::Raw, true).payload(number);
        let mut answers = answers(WireFormat::Raw, true);
        assert_eq!(answers.take(sent(0)).expect("is right"), 1);
        assert!(answers.take(sent(0)).is_err(), "twice");
        assert!(answers.take(sent(2)).is_err(), "out of order");
        assert!(answers.take(sent(1).slice(..9)).is_err(), "cut short");
        assert_eq!(answers.take(sent(1)).expect("is right"), 1);
    }

    #[test]
    fn without_boundaries_the_bytes_count() {
        let mut answers = answers(WireFormat::Raw, false);
        let bytes = Bytes::from([answers.payload(0), answers.payload(1), answers.payload(2)].concat());
        assert_eq!(answers.take(bytes.slice(..7)).expect("is right"), 0);
        assert_eq!(answers.take(bytes.slice(7..25)).expect("is right"), 2);
        assert!(answers.take(bytes.slice(..5)).is_err(), "the rest of the third is due");
        assert_eq!(answers.take(bytes.slice(25..)).expect("is right"), 1);
    }

    #[test]
    fn in_the_message_format_the_id_counts_too() {
        let mut answers = answers(WireFormat::Message, true);
        let answer = |kind, id| Message::new(kind, id, Payloads::new(10, 16).get(0)).encode();
        assert_eq!(answers.take(answer(MessageKind::Heartbeat, 0)).expect("is none"), 0);
        assert!(answers.take(answer(MessageKind::Response, 1)).is_err());
        assert!(answers.take(answer(MessageKind::Error, 0)).is_err());
        assert!(answers.take(Bytes::from_static(b"short")).is_err());
        assert_eq!(answers.take(answer(MessageKind::Response, 0)).expect("is right"), 1);
    }

    #[test]
    fn where_answers_may_be_lost_each_finds_its_own() {
        for format in [WireFormat::Raw, WireFormat::Message] {
            let answers = answers(format, true);
            let (mut flight, now) = (Flight::default(), Instant::now());
            (0..4).for_each(|number| flight.push(number, now, now));
            let answer = |number| match format {
                WireFormat::Raw => answers.payload(number),
                WireFormat::Message => {
                    Message::new(MessageKind::Response, number, answers.payload(number)).encode()
                }
            };
            for number in [2, 0, 3] {
                let found = answers.find(answer(number), &mut flight).expect("is right");
                assert_eq!(found.map(|sent| sent.number), Some(number));
                assert!(answers.find(answer(number), &mut flight).expect("comes twice").is_none());
            }
            assert_eq!(flight.len(), 1);
        }
        let changed = Message::new(MessageKind::Response, 1, vec![0; 10]).encode();
        let (mut flight, now) = (Flight::default(), Instant::now());
        flight.push(1, now, now);
        assert!(answers(WireFormat::Message, true).find(changed, &mut flight).is_err());
    }
}
