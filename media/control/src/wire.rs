//! CBOR forms of foreign types, where a network is `[address, prefix length]`, and of lists that may grow.

pub(crate) mod network {
    use std::net::IpAddr;

    use ipnet::IpNet;
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    pub(crate) fn encode<C, W: Write>(
        net: &IpNet,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(2)?;
        e.encode_with(net.addr(), ctx)?;
        e.u8(net.prefix_len())?;
        Ok(())
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<IpNet, minicbor::decode::Error> {
        if d.array()? != Some(2) {
            return Err(minicbor::decode::Error::message("a network is [address, prefix length]"));
        }
        let address: IpAddr = d.decode_with(ctx)?;
        IpNet::new(address, d.u8()?)
            .map_err(|_| minicbor::decode::Error::message("prefix length too large for the address"))
    }
}

pub(crate) mod networks {
    use ipnet::IpNet;
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    /// More networks than any trunk has; a bound on what a frame can make the decoder keep.
    const MAX_NETWORKS: u64 = 64;

    pub(crate) fn encode<C, W: Write>(
        nets: &[IpNet],
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(nets.len() as u64)?;
        nets.iter().try_for_each(|net| super::network::encode(net, e, ctx))
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<IpNet>, minicbor::decode::Error> {
        match d.array()? {
            Some(count) if count <= MAX_NETWORKS => (0..count).map(|_| super::network::decode(d, ctx)).collect(),
            _ => Err(minicbor::decode::Error::message("a list of at most 64 networks was expected")),
        }
    }
}

pub(crate) mod profiles {
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    use crate::Profile;

    /// More profiles than there will be; a bound on what a frame can make the decoder do.
    const MAX_PROFILES: u64 = 64;

    pub(crate) fn encode<C, W: Write>(
        profiles: &[Profile],
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(profiles.len() as u64)?;
        profiles.iter().try_for_each(|profile| e.encode_with(profile, ctx).map(drop))
    }

    /// Leaves out what a later version has added.
    pub(crate) fn decode<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<Profile>, minicbor::decode::Error> {
        let Some(count) = d.array()?.filter(|count| *count <= MAX_PROFILES) else {
            return Err(minicbor::decode::Error::message("a list of at most 64 profiles was expected"));
        };
        let mut profiles = Vec::new();
        for _ in 0..count {
            match d.decode_with(ctx) {
                Ok(profile) => profiles.push(profile),
                Err(error) if error.is_unknown_variant() => {}
                Err(error) => return Err(error),
            }
        }
        Ok(profiles)
    }
}

pub(crate) mod formats {
    use minicbor::encode::Write;
    use minicbor::{Decoder, Encoder};

    use crate::{Format, MAX_FORMATS};

    pub(crate) fn encode<C, W: Write>(
        formats: &[Format],
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), minicbor::encode::Error<W::Error>> {
        e.array(formats.len() as u64)?;
        formats.iter().try_for_each(|format| e.encode_with(format, ctx).map(drop))
    }

    pub(crate) fn decode<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<Format>, minicbor::decode::Error> {
        match d.array()? {
            Some(count) if count <= MAX_FORMATS as u64 => (0..count).map(|_| d.decode_with(ctx)).collect(),
            _ => Err(minicbor::decode::Error::message("a list of at most 16 formats was expected")),
        }
    }
}
