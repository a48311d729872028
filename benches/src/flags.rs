//! Command lines: `--name value`, `--name`, and what remains.

/// The words of a command line, removed as they are understood.
pub struct Flags {
    words: Vec<String>,
}

impl Flags {
    /// The words after the program's name.
    pub fn of_this_process() -> Self {
        Self { words: std::env::args().skip(1).collect() }
    }

    /// The given words.
    pub fn new(words: &[&str]) -> Self {
        Self { words: words.iter().map(ToString::to_string).collect() }
    }

    /// Whether `--name` is there.
    pub fn has(&mut self, name: &str) -> bool {
        match self.words.iter().position(|word| word == name) {
            Some(at) => {
                self.words.remove(at);
                true
            }
            None => false,
        }
    }

    /// The word after `--name`.
    pub fn text(&mut self, name: &str) -> Result<Option<String>, String> {
        let Some(at) = self.words.iter().position(|word| word == name) else { return Ok(None) };
        self.words.remove(at);
        if at < self.words.len() {
            Ok(Some(self.words.remove(at)))
        } else {
            Err(format!("{name} needs a value"))
        }
    }

    /// The word after `--name`, read as a number or whatever `T` is.
    pub fn value<T: std::str::FromStr>(&mut self, name: &str) -> Result<Option<T>, String> {
        self.text(name)?
            .map(|word| word.parse().map_err(|_| format!("{name}: {word:?} makes no sense")))
            .transpose()
    }

    /// The remaining words; an error if one of them is an unknown flag.
    pub fn rest(self) -> Result<Vec<String>, String> {
        match self.words.iter().find(|word| word.starts_with("--")) {
            Some(unknown) => Err(format!("{unknown} is not a flag here")),
            None => Ok(self.words),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_taken_and_strays_are_refused() {
        let mut flags = Flags::new(&["a", "--size", "12", "--raw", "b"]);
        assert_eq!(flags.value::<usize>("--size"), Ok(Some(12)));
        assert_eq!(flags.value::<usize>("--other"), Ok(None));
        assert!(flags.has("--raw") && !flags.has("--raw"));
        assert_eq!(flags.rest(), Ok(vec!["a".to_owned(), "b".to_owned()]));

        assert!(Flags::new(&["--size"]).value::<usize>("--size").is_err());
        assert!(Flags::new(&["--size", "big"]).value::<usize>("--size").is_err());
        assert!(Flags::new(&["--typo"]).rest().is_err());
    }
}
