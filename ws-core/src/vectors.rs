//! Functions for vectors that not every processor has: compiled for them, and called where they were found.
//!
//! One of the two places of this crate that need `unsafe`. To call such a function is undefined behaviour on any other
//! processor, and nothing else about it is. And there is no safe way to read a vector of 64 bytes that the compiler would
//! not take for eight words to be put together.
#![allow(
    unsafe_code,
    reason = "two blocks: such a call beside the check that makes it safe, and bytes read as a vector"
)]

use core::arch::x86_64::__m512i;

/// Declares a function for processors with these features and calls it, with the names that it declares, if this is one;
/// `None` if it is not. The standard library keeps what it found, and asking for it costs two instructions.
macro_rules! where_found {
    ($($feature:tt)&&+, fn($($arg:ident: $type:ty),*) -> $output:ty $body:block) => {{
        $(#[target_feature(enable = $feature)])+
        fn compiled_for_it($($arg: $type),*) -> $output $body

        if $(std::arch::is_x86_feature_detected!($feature))&&+ {
            // SAFETY: it asks for a processor with these features and for nothing else, and this one has each of them.
            #[allow(unsafe_code)]
            Some(unsafe { compiled_for_it($($arg),*) })
        } else {
            None
        }
    }};
}

pub(crate) use where_found;

/// Bytes as a vector, the first one lowest.
#[inline(always)]
pub(crate) fn load(bytes: &[u8; 64]) -> __m512i {
    // SAFETY: both are 64 bytes, and all values of either are values of the other.
    unsafe { core::mem::transmute(*bytes) }
}

#[cfg(test)]
mod tests {
    use super::load;

    /// What every processor of the target has is found, what none has is not; the value comes back. Under Miri too.
    #[test]
    fn a_function_is_called_where_its_features_are() {
        let (a, b) = (40, 2);
        assert_eq!(where_found!("sse2", fn(a: u8, b: u8) -> u8 { a + b }), Some(42));
        assert_eq!(where_found!("sse" && "sse2", fn(a: u8, b: u8) -> u8 { a - b }), Some(38));
        assert_eq!(where_found!("sse2" && "tbm", fn(a: u8, b: u8) -> u8 { a * b }), None);
    }

    #[test]
    fn a_vector_is_the_bytes() {
        let bytes = core::array::from_fn(|i| i as u8);
        let words: [u64; 8] =
            core::array::from_fn(|i| 0x0706_0504_0302_0100 + 0x0808_0808_0808_0808 * i as u64);
        assert_eq!(
            std::format!("{:?}", load(&bytes)),
            std::format!("__m512i{words:?}").replace('[', "(").replace(']', ")")
        );
    }
}
