//! Guides for users of other systems: their concepts, the names here, and the first lines of code.
//!
//! | you know | you will look for | page |
//! |---|---|---|
//! | Ergo | meta-processes, aliases, pools | [`ergo`] |
//! | Theater | state in, state and responses out | [`theater`] |
//! | FluentAI | a registry with send, broadcast, close | [`fluentai`] |
//! | Worpen | routes with hooks and channels | [`worpen`] |
//! | Wippy | an HTTP decision, a hub process, re-targeting | [`wippy`] |
//!
//! The code of each page is run with the tests, with clients in memory ([`testing`](crate::testing)). The last column of its
//! table has the row of `CONFORMANCE.md` that tells which tests hold the promise. What is missing is listed at the end.

pub mod ergo {
    #![doc = include_str!("guide/ergo.md")]
    #[cfg(doc)]
    use crate::*;
}

pub mod theater {
    #![doc = include_str!("guide/theater.md")]
    #[cfg(doc)]
    use crate::*;
}

pub mod fluentai {
    #![doc = include_str!("guide/fluentai.md")]
    #[cfg(doc)]
    use crate::*;
}

pub mod worpen {
    #![doc = include_str!("guide/worpen.md")]
    #[cfg(doc)]
    use crate::*;
}

pub mod wippy {
    #![doc = include_str!("guide/wippy.md")]
    #[cfg(doc)]
    use crate::*;
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    const CONFORMANCE: &str = include_str!("../CONFORMANCE.md");

    /// A page with the rows that its system's users know.
    const PAGES: [(&str, &str, &str); 5] = [
        (
            "ergo",
            include_str!("guide/ergo.md"),
            "A1 A2 A5 A6 A7 A14 B1 B2 B3 B4 B5 B6 B8 C1 C2 C3 C4 K1 K2 N3",
        ),
        ("theater", include_str!("guide/theater.md"), "A2 A8 B1 B2 B3 B6 B7 C1 K5"),
        ("fluentai", include_str!("guide/fluentai.md"), "A1 A13 B1 B3 B5 B8 B9 B10 B11 B13 O5"),
        (
            "worpen",
            include_str!("guide/worpen.md"),
            "A1 A2 A3 A4 B1 B2 B3 B11 B12 D1 D2 D3 D4 D5 K5 O1 O2 O3",
        ),
        (
            "wippy",
            include_str!("guide/wippy.md"),
            "A1 A2 A7 A11 A12 B1 B2 B3 B5 B8 B12 C1 C4 C5 C6 C7 C8 C10 K3 K5 O2",
        ),
    ];

    fn cells(line: &str) -> Option<Vec<&str>> {
        let row = line.strip_prefix("| ")?.strip_suffix(" |")?;
        Some(row.split(" | ").map(str::trim).collect())
    }

    /// No page promises what no test checks, and none leaves out what its readers look for.
    #[test]
    fn pages_promise_what_is_held() {
        let held: BTreeMap<_, _> = CONFORMANCE
            .lines()
            .filter_map(cells)
            .filter_map(|row| Some((*row.first()?, row.get(2)?.starts_with('`'))))
            .collect();
        for (page, text, known) in PAGES {
            let rows: Vec<_> = text.lines().filter_map(cells).skip(1).collect();
            assert!(rows.iter().all(|row| row.len() == 3), "{page}: {rows:?}");
            let named: Vec<_> =
                rows.iter().flat_map(|row| row[2].split(", ")).filter(|id| !id.is_empty()).collect();
            for id in &named {
                assert_eq!(held.get(id), Some(&true), "{page} promises {id}");
            }
            for id in known.split(' ') {
                assert!(named.contains(&id), "{page} leaves out {id}");
            }
        }
    }
}
