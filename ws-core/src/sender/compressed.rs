//! Messages that are compressed on their way (RFC 7692, section 6.1).

use alloc::boxed::Box;

use super::Sender;
use crate::deflate::Outflow;
use crate::error::SendError;
use crate::event::{Kind, Part};
use crate::frame::{Header, MAX_HEADER, Opcode, RSV1};
use crate::mask;

impl Sender {
    pub(crate) fn allow_deflate(&mut self, outflow: Outflow) {
        self.outflow = Some(Box::new(outflow));
    }

    /// 7692, 6.1: compresses the payload, and sets RSV1 on the first frame of the message.
    #[inline(never)]
    pub(super) fn send_compressed(
        &mut self,
        opcode: Opcode,
        kind: Kind,
        payload: &[u8],
        part: Part,
        out: &mut [u8],
    ) -> Result<usize, SendError> {
        let Some(outflow) = &mut self.outflow else {
            return self.send_plain(opcode, kind, payload, part, out);
        };
        let most = outflow.deflater.bound(payload.len());
        let head_most = Header::len_for(most as u64, self.keys.is_some());
        let needed = self.pending as usize + head_most + most;
        if out.len() < needed {
            return Err(SendError::NoSpace { needed });
        }
        let at = if self.pending > 0 { self.transmit(out) } else { 0 };
        let Some(out) = out.get_mut(at..) else { return Err(SendError::NoSpace { needed }) };
        let Some(outflow) = &mut self.outflow else { return Ok(at) };
        let Some(len) = outflow.deflate(payload, part, &mut out[head_most..]) else {
            return Err(SendError::NoSpace { needed });
        };
        // What did not shrink goes as it is, where the compressor keeps nothing of it.
        if part == Part::Whole && outflow.forgets && len > payload.len() {
            return Ok(at + self.send_plain(opcode, kind, payload, part, out)?);
        }
        let mut header = self.begin(opcode, kind, len as u64, part);
        header.rsv = if part.is_first() { RSV1 } else { 0 };
        let mut head = [0; MAX_HEADER];
        let head_len = header.encode(&mut head);
        out[..head_len].copy_from_slice(&head[..head_len]);
        // The header was not known before; a short one has its payload moved up.
        if head_len < head_most {
            out.copy_within(head_most..head_most + len, head_len);
        }
        if let Some(key) = header.mask {
            mask::mask(&mut out[head_len..head_len + len], key);
        }
        Ok(at + head_len + len)
    }
}
