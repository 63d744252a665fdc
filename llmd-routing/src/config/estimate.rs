//! How many tokens images and videos are taken for, where tokens are estimated. It is for the shell to count them.

use serde::Deserialize;

/// How many tokens images and videos are taken for.
///
/// Formulas and defaults: llm-d's `token-producer`, backend `estimate`. A 0 means the default.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct MediaEstimate {
    /// Of an image.
    pub image: ImageEstimate,
    /// Of a video.
    pub video: VideoEstimate,
}

/// How many tokens an image is taken for: `width · height / factor`, or always as many.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct ImageEstimate {
    /// Which of both.
    pub mode: EstimateMode,
    /// The size of images whose size cannot be read.
    pub default_resolution: Resolution,
    /// Tokens of every image, in mode `static`.
    #[serde(rename = "static")]
    pub fixed: StaticImage,
    /// Pixels of a token, in mode `dynamic`.
    pub dynamic: PixelsPerToken,
}

/// How many tokens a video is taken for: frames times tokens per frame, up to a limit.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct VideoEstimate {
    /// The size of frames that requests do not say.
    pub default_resolution: Resolution,
    /// The length in seconds that requests do not say; default 10.
    pub default_duration: f64,
    /// Tokens per frame.
    pub tokens_per_frame: TokensPerFrame,
    /// Frames.
    pub frames: Frames,
    /// At most how many tokens; 0 for any number.
    pub max_video_tokens: u32,
}

/// How many tokens a frame is taken for.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct TokensPerFrame {
    /// By its size, or always as many.
    pub mode: EstimateMode,
    /// Tokens of every frame, in mode `static`.
    #[serde(rename = "static")]
    pub fixed: StaticFrame,
    /// Pixels of a token, in mode `dynamic`.
    pub dynamic: PixelsPerToken,
}

/// How many frames of a video are looked at.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct Frames {
    /// At a rate of their own, or each n-th.
    pub mode: FramesMode,
    /// At least how many.
    pub min_frames: u32,
    /// At most how many; 0 for any number.
    pub max_frames: u32,
    /// In mode `sampled`.
    pub sampled: SampledFrames,
    /// In mode `strided`.
    pub strided: StridedFrames,
}

/// Whether tokens follow from the size.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum EstimateMode {
    /// They do.
    #[default]
    Dynamic,
    /// They do not.
    Static,
}

/// Which frames are looked at.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum FramesMode {
    /// So many a second.
    #[default]
    Sampled,
    /// Each n-th of the video's own.
    Strided,
}

/// A size in pixels.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Resolution {
    /// Default 640.
    pub width: u32,
    /// Default 360.
    pub height: u32,
}

/// Tokens of every image.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct StaticImage {
    /// Default 1.
    pub static_token: u32,
}

/// Tokens of every frame.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct StaticFrame {
    /// Default 1.
    pub num_tokens_per_frame: u32,
}

/// Pixels of a token.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct PixelsPerToken {
    /// Default 1024.
    pub factor: u32,
}

/// So many frames a second.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct SampledFrames {
    /// How many; default 2.
    #[serde(rename = "sampleFPS")]
    pub sample_fps: f64,
    /// How many of these are one; default 1.
    pub temporal_patch_size: u32,
}

/// Each n-th frame.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(default, deny_unknown_fields, rename_all = "camelCase")]
#[non_exhaustive]
pub struct StridedFrames {
    /// The frames a second that requests do not say; default 24.
    #[serde(rename = "defaultSourceFPS")]
    pub default_source_fps: f64,
    /// Which; default 1, all.
    pub frame_stride: u32,
}

impl MediaEstimate {
    /// The same, with every default in the place of a 0.
    pub(super) fn settled(mut self) -> Self {
        let Self { image, video } = &mut self;
        settle(&mut image.fixed.static_token, 1);
        settle(&mut video.tokens_per_frame.fixed.num_tokens_per_frame, 1);
        for dynamic in [&mut image.dynamic, &mut video.tokens_per_frame.dynamic] {
            settle(&mut dynamic.factor, PixelsPerToken::default().factor);
        }
        for size in [&mut image.default_resolution, &mut video.default_resolution] {
            let Resolution { width, height } = Resolution::default();
            settle(&mut size.width, width);
            settle(&mut size.height, height);
        }
        let Frames { sampled, strided, .. } = &mut video.frames;
        settle(&mut sampled.temporal_patch_size, 1);
        settle(&mut strided.frame_stride, 1);
        for (rate, default) in [
            (&mut video.default_duration, VideoEstimate::default().default_duration),
            (&mut sampled.sample_fps, SampledFrames::default().sample_fps),
            (&mut strided.default_source_fps, StridedFrames::default().default_source_fps),
        ] {
            if *rate <= 0.0 {
                *rate = default;
            }
        }
        self
    }
}

fn settle(number: &mut u32, default: u32) {
    if *number == 0 {
        *number = default;
    }
}

impl Default for VideoEstimate {
    fn default() -> Self {
        Self {
            default_resolution: Resolution::default(),
            default_duration: 10.0,
            tokens_per_frame: TokensPerFrame::default(),
            frames: Frames::default(),
            max_video_tokens: 0,
        }
    }
}

impl Default for Resolution {
    fn default() -> Self {
        Self { width: 640, height: 360 }
    }
}

impl Default for StaticImage {
    fn default() -> Self {
        Self { static_token: 1 }
    }
}

impl Default for StaticFrame {
    fn default() -> Self {
        Self { num_tokens_per_frame: 1 }
    }
}

impl Default for PixelsPerToken {
    fn default() -> Self {
        Self { factor: 1024 }
    }
}

impl Default for SampledFrames {
    fn default() -> Self {
        Self { sample_fps: 2.0, temporal_patch_size: 1 }
    }
}

impl Default for StridedFrames {
    fn default() -> Self {
        Self { default_source_fps: 24.0, frame_stride: 1 }
    }
}
