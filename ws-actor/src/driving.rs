//! What drives an open connection: a task of its own, or a loop that has many.

use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::conn::{Open, drive};
use crate::patience::Patience;

/// What drives the connections of a server.
#[derive(Clone)]
pub(crate) struct Driving {
    patience: Arc<Patience>,
    #[cfg(feature = "mio")]
    pub(crate) loops: Option<crate::loops::Loops>,
}

impl Driving {
    pub(crate) fn new(patience: Patience) -> Self {
        Self {
            patience: Arc::new(patience),
            #[cfg(feature = "mio")]
            loops: None,
        }
    }

    pub(crate) fn set_patience(&mut self, patience: Patience) {
        self.patience = Arc::new(patience);
    }

    pub(crate) fn patience(&self) -> Patience {
        *self.patience
    }

    /// Gives a connection to the loops, if there are any and it is one for them; otherwise there is something to wait
    /// for until it ends.
    ///
    /// No `async fn`: what it returns lives as long as the connection, and has nothing in it but that.
    pub(crate) fn begin<S>(&self, open: Open<S>) -> Option<impl Future<Output = ()> + use<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let open = self.hand_over(open)?;
        let driving = drive(open, *self.patience);
        Some(async {
            driving.await;
        })
    }

    #[cfg(feature = "mio")]
    fn hand_over<S: 'static>(&self, open: Open<S>) -> Option<Open<S>> {
        match &self.loops {
            Some(loops) => loops.take(open, &self.patience),
            None => Some(open),
        }
    }

    #[cfg(not(feature = "mio"))]
    fn hand_over<S>(&self, open: Open<S>) -> Option<Open<S>> {
        Some(open)
    }
}
