//! Huffman codes from how often each symbol comes (RFC 1951, section 3.2.2).

/// Maximum number of symbols in an alphabet, and of bits in a code.
const SYMBOLS: usize = 288;
const LONGEST: usize = 15;

/// A code: of each symbol the bits, the first one lowest, and their number from bit 16 on; 0 for what never comes.
pub(super) type Code<const N: usize> = [u32; N];

/// Makes the best code for symbols that come so often, with none longer than `limit`, and says how many bits all of them
/// take. Counts are below 2^22.
///
/// At least two have a code, as there are decoders that want a complete one.
pub(super) fn best<const N: usize>(counts: &[u32; N], limit: usize, code: &mut Code<N>) -> u32 {
    *code = [0; N];
    let mut symbols = [0_u16; N];
    let mut used = 0;
    for (symbol, &count) in counts.iter().enumerate() {
        symbols[used.min(N - 1)] = symbol as u16;
        used += usize::from(count > 0);
    }
    if used < 2 {
        let one = if used == 1 { usize::from(symbols[0]) } else { 0 };
        let other = usize::from(one == 0);
        code[one.min(other)] = 1 << 16;
        code[one.max(other)] = 1 << 16 | 1;
        return counts[one];
    }
    let symbols = &symbols[..used];
    let mut keys = [0; SYMBOLS];
    let keys = sort(counts, symbols, &mut keys);
    let depths = depths(keys, limit);

    // The rarest are the deepest.
    let (mut lens, mut cost) = ([0_u8; N], 0);
    let (mut len, mut left) = (limit, depths[limit]);
    for &key in keys {
        while left == 0 && len > 1 {
            len -= 1;
            left = depths[len];
        }
        left = left.saturating_sub(1);
        lens[symbol(key)] = len as u8;
        cost += count(key) * len as u32;
    }
    // "The smallest code value for each code length", and from there on in the order of the symbols.
    let mut next = [0_u16; LONGEST + 1];
    for len in 1..LONGEST {
        next[len + 1] = (next[len] + depths[len] as u16) << 1;
    }
    for &symbol in symbols {
        let len = lens[usize::from(symbol)];
        let next = &mut next[usize::from(len) & LONGEST];
        code[usize::from(symbol)] = u32::from(next.reverse_bits()) >> (16 - len) | u32::from(len) << 16;
        *next = next.wrapping_add(1);
    }
    cost
}

/// A symbol and how often it comes.
const fn key(count: u32, symbol: u16) -> u32 {
    count << 9 | symbol as u32
}

const fn count(key: u32) -> u32 {
    key >> 9
}

const fn symbol(key: u32) -> usize {
    (key & 0x1FF) as usize
}

/// The rarest first.
fn sort<'a, const N: usize>(counts: &[u32; N], symbols: &[u16], keys: &'a mut [u32; SYMBOLS]) -> &'a [u32] {
    // In a message most come a few times, which is a place of its own; those beyond share the last one.
    const PLACES: usize = 32;
    let place = |count: u32| (count as usize).min(PLACES - 1);
    let mut starts = [0_u16; PLACES];
    for &symbol in symbols {
        starts[place(counts[usize::from(symbol)])] += 1;
    }
    let mut start = 0;
    for place in &mut starts {
        start += core::mem::replace(place, start);
    }
    let often = usize::from(starts[PLACES - 1]);
    for &symbol in symbols {
        let count = counts[usize::from(symbol)];
        let start = &mut starts[place(count)];
        keys[usize::from(*start).min(SYMBOLS - 1)] = key(count, symbol);
        *start += 1;
    }
    let keys = &mut keys[..symbols.len()];
    keys[often..].sort_unstable();
    keys
}

/// How many leaves the tree has at each depth, down to `limit`. The keys are two or more.
fn depths(keys: &[u32], limit: usize) -> [u32; LONGEST + 1] {
    // The two lightest are joined until there is one. Joined ones come in the order of their weights, so that they and the
    // leaves are two queues.
    let mut weights = [0_u32; SYMBOLS];
    let mut parents = [0_u16; SYMBOLS];
    let mut leaves = [0_u8; SYMBOLS];
    let joined = keys.len() - 1;
    let (mut leaf, mut node) = (0, 0);
    for next in 0..joined {
        let mut weight = 0;
        for _ in 0..2 {
            match keys.get(leaf) {
                Some(&key) if node == next || count(key) <= weights[node] => {
                    weight += count(key);
                    leaves[next] += 1;
                    leaf += 1;
                }
                _ => {
                    weight += weights[node];
                    parents[node] = next as u16;
                    node += 1;
                }
            }
        }
        weights[next] = weight;
    }

    // From the root, which came last, to the leaves.
    let mut counts = [0_u32; LONGEST + 1];
    let mut depths = [0_u16; SYMBOLS];
    let mut is_deeper = false;
    for at in (0..joined).rev() {
        if at + 1 < joined {
            depths[at] = depths[usize::from(parents[at])] + 1;
        }
        let depth = usize::from(depths[at]) + 1;
        is_deeper |= depth > limit && leaves[at] > 0;
        counts[depth.min(limit)] += u32::from(leaves[at]);
    }
    if is_deeper {
        make_room(&mut counts, limit);
    }
    counts
}

/// There are more leaves at the limit than it has places. One of less depth gives up its place to be the parent of itself
/// and of one of them, as often as there is one too many.
fn make_room(counts: &mut [u32; LONGEST + 1], limit: usize) {
    let taken: u32 = (1..=limit).map(|len| counts[len] << (limit - len)).sum();
    for _ in 1 << limit..taken {
        let Some(len) = (1..limit).rev().find(|&len| counts[len] > 0) else { return };
        counts[len] -= 1;
        counts[len + 1] += 2;
        counts[limit] -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the best code without a limit costs: each time two are joined, all below them take a bit more.
    fn least(counts: &[u32]) -> u32 {
        let mut weights: Vec<u32> = counts.iter().copied().filter(|&count| count > 0).collect();
        let mut cost = 0;
        while weights.len() > 1 {
            weights.sort_unstable_by(|a, b| b.cmp(a));
            let two = weights.pop().unwrap() + weights.pop().unwrap();
            cost += two;
            weights.push(two);
        }
        cost
    }

    /// RFC 1951, section 3.2.2: complete, no code begins another one, within the limit, for what comes and only for that.
    fn check<const N: usize>(counts: &[u32; N], limit: usize) {
        let mut code = [0; N];
        let cost = best(counts, limit, &mut code);
        let coded: Vec<(usize, u32, u32)> =
            (0..N).filter(|&at| code[at] > 0).map(|at| (at, code[at] & 0xFFFF, code[at] >> 16)).collect();
        assert!(coded.iter().all(|code| (1..=limit as u32).contains(&code.2)), "{counts:?}");
        let taken: u32 = coded.iter().map(|code| 1 << (limit as u32 - code.2)).sum();
        assert_eq!(taken, 1 << limit, "{counts:?}");
        for (at, (_, bits, len)) in coded.iter().enumerate() {
            assert_eq!(bits >> len, 0);
            for (_, other, longer) in &coded[at + 1..] {
                assert_ne!((bits ^ other) & ((1 << len.min(longer)) - 1), 0, "{counts:?}");
            }
        }
        let used = counts.iter().filter(|count| **count > 0).count();
        assert!((0..N).all(|at| counts[at] == 0 || code[at] > 0) && coded.len() == used.max(2));
        if used > 1 {
            assert_eq!(cost, coded.iter().map(|(at, _, len)| counts[*at] * len).sum::<u32>());
            let (least, all) = (least(counts), counts.iter().sum::<u32>());
            let is_short = coded.iter().all(|code| code.2 < limit as u32);
            assert!(if is_short { cost == least } else { cost >= least }, "{cost}, {least}: {counts:?}");
            // The limit costs little: the heights that are cut off hold few.
            assert!(cost <= least + all / 4 + 8, "{cost}, {least}: {counts:?}");
        }
    }

    #[test]
    fn codes_are_complete_short_and_within_the_limit() {
        check(&[0; 19], 7);
        check(&[0; 286], 14);
        check(&[1; 286], 14);
        check(&[100_000; 19], 7);
        for one in [0, 1, 18] {
            let mut counts = [0; 19];
            counts[one] = 3;
            check(&counts, 7);
        }
        // The deepest of all trees: each weighs as much as all before it.
        for used in 2..=30 {
            let (mut counts, mut two) = ([0; 30], (1, 1));
            for count in counts.iter_mut().rev().take(used) {
                *count = two.0;
                two = (two.1, two.0 + two.1);
            }
            check(&counts, 15);
            check(&counts, 9);
        }
        let mut state = 7_u64;
        let mut random = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 20) as u32
        };
        for _ in 0..300 {
            let (sparse, spread) = (random() % 8, random() % 16);
            let mut count = || {
                if random() % 8 < sparse { 0 } else { random() >> (12 + random() % (spread + 1)) & 0x3FFF }
            };
            check::<286>(&core::array::from_fn(|_| count()), 14);
            check::<30>(&core::array::from_fn(|_| count()), 15);
            check::<19>(&core::array::from_fn(|_| count()), 7);
        }
    }
}
