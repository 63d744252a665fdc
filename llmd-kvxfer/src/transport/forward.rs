//! What a transport that wraps another one leaves to it.

/// Leaves methods of [`Transport`](super::Transport) to the one in this field: written as the trait has them.
macro_rules! forward {
    ($inner:tt:) => {};
    ($inner:tt: fn $name:ident(&$this:ident $(, $arg:ident: $of:ty)*) $(-> $out:ty)?; $($rest:tt)*) => {
        fn $name(&$this $(, $arg: $of)*) $(-> $out)? {
            $this.$inner.$name($($arg),*)
        }
        $crate::transport::forward!($inner: $($rest)*);
    };
    ($inner:tt: fn $name:ident(&mut $this:ident $(, $arg:ident: $of:ty)*) $(-> $out:ty)?; $($rest:tt)*) => {
        fn $name(&mut $this $(, $arg: $of)*) $(-> $out)? {
            $this.$inner.$name($($arg),*)
        }
        $crate::transport::forward!($inner: $($rest)*);
    };
}

pub(crate) use forward;
