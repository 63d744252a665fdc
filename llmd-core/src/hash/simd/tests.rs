//! All forms make the same sums, which are those of the construction.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// Every form of this machine.
fn kernels(master: [u8; 16], block_size: usize) -> Vec<Kernel> {
    let kernels = Form::ALL.into_iter().filter_map(|form| Kernel::new(master, block_size, form));
    kernels.collect()
}

fn sums(kernel: &Kernel, parent: u64, position: u64, tokens: &[TokenId]) -> Vec<BlockHash> {
    let mut sums = vec![BlockHash(1), BlockHash(2)];
    kernel.extend(parent, position, tokens, &mut sums);
    assert_eq!(sums[..2], [BlockHash(1), BlockHash(2)], "what was there stays");
    sums.split_off(2)
}

/// The vector of the construction, made by another program.
#[test]
fn the_sums_are_those_of_the_construction() {
    let tokens: Vec<_> = (0..48).collect();
    for kernel in kernels(std::array::from_fn(|byte| byte as u8), 16) {
        let expected = [0xf4bd_4538_bf46_9ed7, 0x30c2_2e91_40e7_32ed, 0x8234_c3a2_4faa_6166].map(BlockHash);
        assert_eq!(sums(&kernel, 0, 0, &tokens), expected, "{}", kernel.form());
    }
}

#[test]
fn a_form_that_the_machine_lacks_is_refused() {
    for form in Form::ALL {
        assert_eq!(Kernel::new([0; 16], 16, form).is_some(), form.is_available(), "{form}");
    }
    assert!(Form::Portable.is_available() && Form::best().is_available());
}

#[test]
fn a_size_that_no_block_has_takes_no_memory() {
    for kernel in kernels([0; 16], usize::MAX) {
        assert_eq!(sums(&kernel, 0, 0, &[7; 100]), []);
    }
}

/// Each pair of forms differs in how blocks and lines are put into vectors, so all block sizes and all tails are met.
#[test]
fn forms_agree_for_every_block_size_and_every_tail() {
    for size in 1..=128 {
        let [kernels @ .., portable] = &kernels([size as u8; 16], size)[..] else { panic!("one form is everywhere") };
        let tokens: Vec<TokenId> = (0..20 * size as u32).map(|token| token.wrapping_mul(0x9e37_79b9)).collect();
        let expected = sums(portable, 7, 1000, &tokens);
        for (blocks, kernel) in (0..20).flat_map(|blocks| kernels.iter().map(move |kernel| (blocks, kernel))) {
            let rest = (size - 1) * (blocks % 2);
            let sums = sums(kernel, 7, 1000, &tokens[..blocks * size + rest]);
            assert_eq!(sums, expected[..blocks], "{size} tokens, {}", kernel.form());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Also where keys are no longer kept, where positions end, and with a prompt in parts.
    #[test]
    fn forms_agree_everywhere(
        master: [u8; 16],
        size in prop_oneof![Just(16), Just(32), Just(64), 1..=128_usize],
        near in prop::sample::select(vec![0, 1023, 1 << 16, u64::from(u32::MAX), u64::MAX - 5]),
        ahead in 0..40_u64,
        parent: u64,
        tokens in vec(prop_oneof![Just(TokenId::MAX), Just(0), any::<TokenId>()], 0..1300),
        cut: prop::sample::Index,
    ) {
        let position = near.wrapping_add(ahead);
        let kernels = kernels(master, size);
        let expected = sums(kernels.last().unwrap(), parent, position, &tokens);
        let cut = cut.index(expected.len() + 1);
        let before = cut.checked_sub(1).map_or(parent, |last| expected[last].0);
        for kernel in &kernels {
            prop_assert_eq!(&sums(kernel, parent, position, &tokens), &expected);
            let rest = sums(kernel, before, position.wrapping_add(cut as u64), &tokens[cut * size..]);
            prop_assert_eq!(&rest, &expected[cut..]);
            if let (Some(first), Some(block)) = (expected.first(), tokens.get(..size)) {
                prop_assert_eq!(kernel.term(position, block) ^ parent, first.0);
            }
        }
    }
}
