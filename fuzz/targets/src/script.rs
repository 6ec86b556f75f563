//! Bytes read as a script: which step comes next, and with what. Never fails; what is not there reads as zero, so each
//! prefix of a script is one, and most changes of a byte change one step.

/// What is left of the bytes of one run.
#[derive(Clone, Debug)]
pub struct Script<'a> {
    rest: &'a [u8],
}

impl<'a> Script<'a> {
    /// The script that these bytes are.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// True if nothing is left.
    pub fn is_over(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next step's number, below `steps`; `None` at the end.
    pub fn step(&mut self, steps: u8) -> Option<u8> {
        (!self.is_over()).then(|| self.byte() % steps.max(1))
    }

    /// One byte.
    pub fn byte(&mut self) -> u8 {
        let [byte] = self.array();
        byte
    }

    /// Two bytes, the low one first.
    pub fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.array())
    }

    /// Four bytes, the low one first.
    pub fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.array())
    }

    /// An index below `length`, by one byte; 0 if there is nothing to choose from.
    pub fn index(&mut self, length: usize) -> usize {
        usize::from(self.byte()).checked_rem(length).unwrap_or(0)
    }

    /// One of these.
    pub fn choose<'c, T>(&mut self, choices: &'c [T]) -> Option<&'c T> {
        let index = self.index(choices.len());
        choices.get(index)
    }

    /// A length in two bytes, then as many bytes; fewer at the end.
    pub fn chunk(&mut self) -> &'a [u8] {
        let length = usize::from(self.u16());
        self.take(length)
    }

    /// A [`chunk`](Self::chunk) as text; what is no UTF-8 is replaced.
    pub fn text(&mut self) -> String {
        String::from_utf8_lossy(self.chunk()).into_owned()
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        self.take(self.rest.len())
    }

    fn take(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        for (place, byte) in array.iter_mut().zip(self.take(N)) {
            *place = *byte;
        }
        array
    }
}

/// Changes a genuine text of bytes as a script says: bytes are replaced, cut out, inserted or repeated.
pub fn edited(genuine: &[u8], script: &mut Script<'_>) -> Vec<u8> {
    let mut bytes = genuine.to_vec();
    // Few edits reach deeper than many.
    for _ in 0..=script.byte() % 4 {
        let at = usize::from(script.u16())
            .checked_rem(bytes.len() + 1)
            .unwrap_or(0);
        match script.byte() % 6 {
            0 => bytes.truncate(at),
            1 => {
                let end = (at + usize::from(script.byte())).min(bytes.len());
                bytes.drain(at..end);
            }
            2 => {
                let inserted = script.chunk().to_vec();
                bytes.splice(at..at, inserted);
            }
            3 => {
                let end = (at + usize::from(script.byte())).min(bytes.len());
                let repeated: Vec<u8> = bytes.get(at..end).unwrap_or_default().to_vec();
                bytes.splice(at..at, repeated);
            }
            _ => {
                let mask = script.byte();
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= mask;
                }
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_there_reads_as_zero() {
        let mut script = Script::new(&[7, 2]);
        assert_eq!(script.step(4), Some(3));
        assert_eq!(script.u32(), 2);
        assert_eq!(
            (script.step(4), script.chunk(), script.byte()),
            (None, &[][..], 0)
        );
    }

    #[test]
    fn a_chunk_ends_with_the_script() {
        let mut script = Script::new(&[2, 0, b'a', b'b', 9, 0, b'c']);
        assert_eq!((script.chunk(), script.text()), (&b"ab"[..], "c".to_owned()));
        assert!(script.is_over());
    }

    #[test]
    fn edits_change_what_they_say() {
        // One edit: the byte at 1 is changed by a mask.
        assert_eq!(edited(b"abc", &mut Script::new(&[0, 1, 0, 5, 0x20])), b"aBc");
        // One edit: cut at 2.
        assert_eq!(edited(b"abc", &mut Script::new(&[0, 2, 0, 0])), b"ab");
    }
}
