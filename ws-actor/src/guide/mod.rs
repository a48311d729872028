//! For those who come from another system: its concepts, their names here, and the first lines of code.
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
//! table has the row of `CONFORMANCE.md` that tells which tests hold the promise. What is not there yet is said at the end.

pub mod ergo {
    #![doc = include_str!("ergo.md")]
    #[cfg(doc)]
    use crate::*;
}

pub mod theater {
    #![doc = include_str!("theater.md")]
    #[cfg(doc)]
    use crate::*;
}

pub mod fluentai {
    #![doc = include_str!("fluentai.md")]
    #[cfg(doc)]
    use crate::*;
}

pub mod worpen {
    #![doc = include_str!("worpen.md")]
    #[cfg(doc)]
    use crate::*;
}

pub mod wippy {
    #![doc = include_str!("wippy.md")]
    #[cfg(doc)]
    use crate::*;
}
