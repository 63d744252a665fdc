//! Programs in C, C++ and Go that use `libllmd` as its users do: compiled strictly, linked both ways, run, and watched for
//! leaks where valgrind is installed.

mod c;
mod go;
mod installed;
mod memory;
mod toolchain;
