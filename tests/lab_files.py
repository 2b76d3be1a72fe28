"""Small recordings in the formats of acquisition systems, written byte by byte after the makers' descriptions of them."""

import json
import struct
from pathlib import Path

import numpy as np


def text(value: str, size: int) -> bytes:
    return value.encode("latin-1").ljust(size, b"\0")


# SpikeGLX: .bin holds int16 (samples, channels), .meta lines KEY=VALUE.


def spikeglx(folder: Path, counts: np.ndarray, rate: float, first_sample: int, gain: int = 250, run: str = "run_g0_t0") -> Path:
    """A Neuropixels 1.0 probe's LFP band; ``counts`` (samples, channels) with the sync word as the last channel."""
    channels = counts.shape[1] - 1
    table = "".join(f"({channel} 0 0 500 {gain} 1)" for channel in range(channels))
    names = "".join(f"(LF{channel};{channel}:{channel})" for channel in range(channels)) + f"(SY0;{channels}:{channels})"
    return _spikeglx(
        folder / f"{run}.imec0.lf",
        counts,
        {
            "typeThis": "imec",
            "imSampRate": rate,
            "imDatPrb_pn": "NP1010",
            "imAiRangeMax": 0.6,
            "snsApLfSy": f"0,{channels},1",
            "firstSample": first_sample,
            "~imroTbl": f"(0,{channels}){table}",
            "~snsChanMap": f"(0,{channels},1){names}",
        },
    )


def spikeglx_nidq(folder: Path, counts: np.ndarray, rate: float, first_sample: int, run: str = "run_g0_t0") -> Path:
    """Analog inputs, and a word of digital inputs as the last channel."""
    analog = counts.shape[1] - 1
    names = "".join(f"(XA{channel};{channel}:{channel})" for channel in range(analog)) + f"(XD0;{analog}:{analog})"
    return _spikeglx(
        folder / f"{run}.nidq",
        counts,
        {
            "typeThis": "nidq",
            "niSampRate": rate,
            "niAiRangeMax": 5,
            "niMNGain": 1,
            "niMAGain": 1,
            "snsMnMaXaDw": f"0,0,{analog},1",
            "niXDChans1": "0:2",
            "firstSample": first_sample,
            "~snsChanMap": f"(0,0,1,{analog},1){names}",
        },
    )


def _spikeglx(stem: Path, counts: np.ndarray, meta: dict) -> Path:
    stem.parent.mkdir(parents=True, exist_ok=True)
    path = stem.with_name(f"{stem.name}.bin")
    path.write_bytes(counts.astype("<i2").tobytes())
    meta = {"nSavedChans": counts.shape[1], "fileSizeBytes": 2 * counts.size, "fileName": f"D:/{path.name}"} | meta
    stem.with_name(f"{stem.name}.meta").write_text("".join(f"{key}={value}\n" for key, value in meta.items()))
    return path


# Intan: header with strings in UTF-16, then blocks of 128 samples, or one file a signal beside info.rhd.


def _qstring(value: str) -> bytes:
    coded = value.encode("utf-16-le")
    return struct.pack("<I", len(coded)) + coded


def _intan_header(rate: float, amplifiers: int, adcs: int, digital: int) -> bytes:
    header = struct.pack("<Ihh", 0xC6912702, 2, 0) + struct.pack("<fh6fhff", rate, 1, 0.1, 0.1, 7500, 0.1, 0.1, 7500, 0, 1000, 1000)
    header += 3 * _qstring("") + struct.pack("<hh", 0, 1) + _qstring("n/a") + struct.pack("<h", 1)
    header += _qstring("Port A") + _qstring("A") + struct.pack("<hhh", 1, amplifiers + adcs + digital, amplifiers)
    channels = [(f"A-{each:03d}", 0, each) for each in range(amplifiers)]
    channels += [(f"ANALOG-IN-{each}", 3, each) for each in range(adcs)] + [(f"DIGITAL-IN-{each}", 4, each) for each in range(digital)]
    for name, kind, order in channels:
        header += _qstring(name) + _qstring(name.lower()) + struct.pack("<10h2f", order, order, kind, 1, 0, 0, 0, 0, 0, 0, 0.0, 0.0)
    return header


def intan(path: Path, rate: float, counts: np.ndarray, adc: np.ndarray, digital: np.ndarray, numbers: np.ndarray) -> Path:
    """One file; ``counts`` (samples, channels) and ``adc`` as uint16, ``digital`` (samples,) words, all whole blocks of 128."""
    with path.open("wb") as file:
        file.write(_intan_header(rate, counts.shape[1], adc.shape[1], 2))
        for first in range(0, len(counts), 128):
            part = slice(first, first + 128)
            file.write(numbers[part].astype("<i4").tobytes())
            file.write(np.ascontiguousarray(counts[part].T).astype("<u2").tobytes())
            file.write(np.ascontiguousarray(adc[part].T).astype("<u2").tobytes())
            file.write(digital[part].astype("<u2").tobytes())
    return path


def intan_folder(folder: Path, rate: float, counts: np.ndarray) -> Path:
    """One file a signal; ``counts`` (samples, channels) int16."""
    folder.mkdir()
    (folder / "info.rhd").write_bytes(_intan_header(rate, counts.shape[1], 0, 0))
    (folder / "amplifier.dat").write_bytes(counts.astype("<i2").tobytes())
    (folder / "time.dat").write_bytes(np.arange(len(counts)).astype("<i4").tobytes())
    return folder


# Blackrock, file specification 2.3.


def blackrock(path: Path, period: int, labels: list[tuple[int, str, str, int]], parts: list[tuple[int, np.ndarray]]) -> Path:
    """``.nsX``; ``labels`` electrode, label, unit and analog value of count 32764; ``parts`` time stamp at 30 kHz and int16 counts."""
    headers = b"".join(
        b"CC" + struct.pack("<H16sBBhhhh16sIIHIIH", electrode, label.encode(), 1, 1, -32764, 32764, -top, top, unit.encode(), *[0] * 6)
        for electrode, label, unit, top in labels
    )
    size = 314 + len(headers)
    basic = b"NEURALCD" + struct.pack("<BBI16s256sII8HI", 2, 3, size, b"1 kS/s", b"", period, 30000, 2024, 1, 1, 1, 0, 0, 0, 0, len(labels))
    data = b"".join(struct.pack("<BII", 1, stamp, len(counts)) + counts.astype("<i2").tobytes() for stamp, counts in parts)
    path.write_bytes(basic + headers + data)
    return path


def blackrock_events(path: Path, electrodes: list[int], spikes: list[tuple[int, int, int]], codes: list[tuple[int, int]]) -> Path:
    """``.nev``; ``spikes`` time stamp, electrode and unit; ``codes`` time stamp and value of the digital port."""
    packet = 104
    headers = b"".join(b"NEUEVWAV" + struct.pack("<HBBHHhhBBH8s", each, 1, 1, 250, 0, 0, 0, 1, 2, 48, b"") for each in electrodes)
    headers += b"".join(b"NEUEVLBL" + struct.pack("<H16s6s", each, f"elec{each}".encode(), b"") for each in electrodes)
    basic = b"NEURALEV" + struct.pack(
        "<BBHIIII8H32s256sI", 2, 3, 1, 336 + len(headers), packet, 30000, 30000, *_DATE, b"", b"", len(headers) // 32
    )
    packets = [(stamp, struct.pack("<IHBB", stamp, electrode, unit, 0)) for stamp, electrode, unit in spikes]
    packets += [(stamp, struct.pack("<IHBBH", stamp, 0, 1, 0, value)) for stamp, value in codes]
    path.write_bytes(basic + headers + b"".join(each.ljust(packet, b"\0") for _, each in sorted(packets)))
    return path


_DATE = (2024, 1, 1, 1, 0, 0, 0, 0)


# Neuralynx: 16 KiB of text, then records.


def _neuralynx_header(name: str, rate: float, volts: float, kind: str, channel: int = 0) -> bytes:
    lines = [
        "######## Neuralynx Data File Header",
        f'-OriginalFileName "C:\\{name}"',
        "-TimeCreated 2024/01/01 10:00:00",
        "-TimeClosed 2024/01/01 11:00:00",
        f"-FileType {kind}",
        '-ApplicationName Cheetah "6.4.0"',
        "-AcquisitionSystem AcqSystem1 DigitalLynxSX",
        f"-AcqEntName {name}",
        *([] if kind == "Event" else [f"-ADChannel {channel}"]),
        f"-SamplingFrequency {rate:g}",
        f"-ADBitVolts {volts:.20f}",
        "-InputRange 1000",
        "-InputInverted False",
    ]
    return text("\r\n".join(lines) + "\r\n", 16384)


def neuralynx(path: Path, rate: float, volts: float, records: list[tuple[int, np.ndarray]]) -> Path:
    """``.ncs``; ``records`` time stamp in microseconds and up to 512 counts."""
    channel = int("".join(letter for letter in path.stem if letter.isdigit()))
    header = _neuralynx_header(path.stem, rate, volts, "NCS", channel)
    data = b"".join(
        struct.pack("<QIII", stamp, channel, round(rate), len(counts)) + counts.astype("<i2").tobytes().ljust(1024, b"\0")
        for stamp, counts in records
    )
    path.write_bytes(header + data)
    return path


def neuralynx_spikes(path: Path, spikes: list[tuple[int, int]]) -> Path:
    """``.nse``; time stamp in microseconds and unit."""
    data = b"".join(struct.pack("<QII8i32h", stamp, 7, unit, *[0] * 40) for stamp, unit in spikes)
    path.write_bytes(_neuralynx_header(path.stem, 32000, 1e-8, "Spike") + data)
    return path


def neuralynx_events(path: Path, events: list[tuple[int, int, str]]) -> Path:
    """``.nev``; time stamp in microseconds, value of the port, string."""
    data = b"".join(
        struct.pack("<hhhQhhhhh8i128s", 0, 0, 2, stamp, 11, value, 0, 0, 0, *[0] * 8, string.encode()) for stamp, value, string in events
    )
    path.write_bytes(_neuralynx_header(path.stem, 32000, 1e-8, "Event") + data)
    return path


# Plexon .plx, version 106.


def plexon(
    path: Path, rate: int, parts: list[tuple[int, np.ndarray]], spikes: list[tuple[int, int]], events: list[tuple[int, int]]
) -> Path:
    """Two LFP channels with gain 1000; ``parts`` time stamp at 40 kHz and counts; ``spikes`` and ``events`` time stamp and number."""
    header = struct.pack("<Ii128s14id", 0x58454C50, 106, b"", 40000, 1, 1, 2, 32, 8, 2024, 1, 1, 1, 0, 0, 0, 40000, 0.0)
    header += struct.pack("<4B3H18s18s10s", 1, 1, 16, 16, 3000, 5000, 1, b"", b"", b"") + bytes(4 * (650 + 650 + 512))
    header += struct.pack("<32s32s9i", b"sig001", b"sig001", 1, 10, 1, 0, 1000, 0, 0, 1, 2) + bytes(640 + 20 + 4 + 80 + 4 + 128 + 4 + 40)
    header = header.ljust(7504 + 1020, b"\0")
    header += struct.pack("<32si", b"Strobed", 257).ljust(296, b"\0")
    for channel in range(2):
        header += struct.pack("<32s6i", f"FP{channel + 1:02d}".encode(), channel, rate, 1000, 1, 1, 1).ljust(296, b"\0")
    blocks = []
    for stamp, counts in parts:
        for channel in range(2):
            data = counts[:, channel].astype("<i2").tobytes()
            blocks.append((stamp, struct.pack("<HHIHHHH", 5, 0, stamp, channel, 0, 1, len(counts)) + data))
    blocks += [(stamp, struct.pack("<HHIHHHH", 1, 0, stamp, 1, unit, 1, 32) + bytes(64)) for stamp, unit in spikes]
    blocks += [(stamp, struct.pack("<HHIHHHH", 4, 0, stamp, 257, value, 0, 0)) for stamp, value in events]
    path.write_bytes(header + b"".join(block for _, block in sorted(blocks, key=lambda each: each[0])))
    return path


# TDT: .Tbk names the stores, .tsq indexes, .tev holds samples.

TSQ = np.dtype(
    [
        *(("size", "<i4"), ("type", "<i4"), ("store", "S4"), ("channel", "<u2"), ("code", "<u2")),
        *(("stamp", "<f8"), ("at", "<i8"), ("format", "<i4"), ("rate", "<f4")),
    ]
)


def tdt(
    folder: Path, start: float, rate: float, chunks: np.ndarray, spikes: list[tuple[float, int]], events: list[tuple[float, int]]
) -> Path:
    """A block; ``chunks`` (chunks, samples, channels) float32; ``spikes`` s from the start and sort code, ``events`` s and value."""
    folder.mkdir(parents=True)
    stem = folder / f"{folder.parent.name}_{folder.name}"
    count, points, channels = chunks.shape
    stores = [("LFP1", channels, 0x8101, points, 0, rate), ("eNeu", 1, 0x8201, 4, 0, 24414.0625), ("Tick", 1, 0x101, 1, 4, 0.0)]
    items = [
        {"StoreName": name, "HeadName": name, "Enabled": 1, "CircType": 0, "NumChan": number, "StrobeMode": 0, "TankEvType": kind}
        | {"NumPoints": size, "DataFormat": form, "SampleFreq": frequency}
        for name, number, kind, size, form, frequency in stores
    ]
    tbk = "[STOREHDRITEM]".join("".join(f"NAME={key};TYPE=S;VALUE={value};\n" for key, value in item.items()) for item in items)
    stem.with_suffix(".Tbk").write_text(tbk + "[USERNOTEDELIMITER]")
    stem.with_suffix(".tdx").write_bytes(b"")
    entry = struct.Struct("<ii4sHHdqif")
    rows, data = [], b""
    for number in range(count):
        for channel in range(channels):
            stamp = start + number * points / rate
            rows.append((stamp, entry.pack(10 + points, 0x8101, b"LFP1", channel + 1, 0, stamp, len(data), 0, rate)))
            data += chunks[number, :, channel].astype("<f4").tobytes()
    for time, code in spikes:
        rows.append((start + time, entry.pack(14, 0x8201, b"eNeu", 1, code, start + time, len(data), 0, 24414.0625)))
        data += bytes(16)
    for time, value in events:
        rows.append((start + time, entry.pack(10, 0x101, b"Tick", 0, 0, start + time, value, 4, 0.0)))
    stop = start + count * points / rate
    marks = [entry.pack(10, 0, b"", 0, 0, 0.0, 0, 0, 0.0), entry.pack(10, 0x8801, b"\x01", 0, 0, start, 0, 0, 0.0)]
    marks += [row for _, row in sorted(rows, key=lambda each: each[0])] + [entry.pack(10, 0x8801, b"\x02", 0, 0, stop, 0, 0, 0.0)]
    stem.with_suffix(".tsq").write_bytes(b"".join(marks))
    stem.with_suffix(".tev").write_bytes(data)
    return folder


# Open Ephys, binary format of version 0.6.


def open_ephys(
    folder: Path,
    rate: float,
    counts: np.ndarray,
    numbers: np.ndarray,
    times: np.ndarray | None,
    pulses: list[tuple[float, float]],
    number: int = 1,
) -> Path:
    """A recording; the last channel of ``counts`` is an ADC's; ``numbers`` and ``times`` (s) of the samples; ``pulses`` of TTL line 1.

    Without ``times`` as before version 0.6, which knew sample numbers alone and called them time stamps. Times of -1 s are those of samples
    before the stream was synchronised, of pulses among them as well; if none was, pulses are in s of the sample numbers.
    """
    recording = folder / "Record Node 101" / "experiment1" / f"recording{number}"
    data, ttl = recording / "continuous" / "Acquisition_Board-100.A", recording / "events" / "Acquisition_Board-100.A" / "TTL"
    for each in (data, ttl):
        each.mkdir(parents=True)
    neural = counts.shape[1] - 1
    channels = [{"channel_name": f"CH{each + 1}", "bit_volts": 0.195, "units": "uV"} for each in range(neural)]
    channels.append({"channel_name": "ADC1", "bit_volts": 0.00015258789, "units": "V"})
    continuous = {"folder_name": "Acquisition_Board-100.A/", "sample_rate": rate, "num_channels": neural + 1, "channels": channels}
    events = {"folder_name": "Acquisition_Board-100.A/TTL/", "channel_name": "TTL", "sample_rate": rate}
    (recording / "structure.oebin").write_text(json.dumps({"continuous": [continuous], "events": [events]}))
    (data / "continuous.dat").write_bytes(counts.astype("<i2").tobytes())
    edges = [(time, sign) for rise, fall in pulses for time, sign in ((rise, 1), (fall, -1))]
    seconds, states = (np.array(column) for column in zip(*edges, strict=True))
    ticks = np.rint(seconds * rate).astype(np.int64)
    if times is None:
        np.save(data / "timestamps.npy", numbers.astype(np.int64))
        written = {"timestamps": ticks, "channel_states": states.astype(np.int16), "channels": np.ones(len(ticks), np.int16)}
    else:
        np.save(data / "sample_numbers.npy", numbers.astype(np.int64))
        np.save(data / "timestamps.npy", times.astype(np.float64))
        known = np.flatnonzero(times != -1)
        if len(known):
            ticks = np.rint(numbers[known[0]] + (seconds - times[known[0]]) * rate).astype(np.int64)
        seconds = np.where(seconds < (times[known[0]] if len(known) else np.inf), -1.0, seconds)
        written = {"timestamps": seconds, "states": states.astype(np.int16), "sample_numbers": ticks}
    for name, array in written.items():
        np.save(ttl / f"{name}.npy", array)
    return folder


# Axona: .set, .bin of packets, and one file a tetrode.


def axona(path: Path, counts: np.ndarray, channels: list[int], offsets: list[int], spikes: np.ndarray) -> Path:
    """``counts`` (samples, 8), of tetrodes 1 and 2; ``offsets`` where in a packet each lies; ``spikes`` at 96 kHz, of tetrode 1."""
    lines = [
        "trial_date Monday, 1 Jan 2024",
        "trial_time 10:00:00",
        "duration 10",
        "rawRate 48000",
        "ADC_fullscale_mv 1500",
        "pretrigSamps 10",
    ]
    lines += [f"collectMask_{tetrode} {int(tetrode in (1, 2))}" for tetrode in range(1, 17)]
    lines += [f"gain_ch_{channel} 4000" for channel in range(64)] + ["Spike2msMode 0"]
    path.with_suffix(".set").write_bytes(("\r\n".join(lines) + "\r\ndata_start").encode())
    packets = []
    for first in range(0, len(counts), 3):
        samples = np.zeros((3, 64), "<i2")
        samples[:, offsets] = counts[first : first + 3, channels]
        packets.append(b"ADU1".ljust(32, b"\0") + samples.tobytes() + bytes(16))
    path.with_suffix(".bin").write_bytes(b"".join(packets))
    header = f"duration 10\r\nnum_chans 4\r\ntimebase 96000 hz\r\nsample_rate 48000 hz\r\nnum_spikes {len(spikes)}\r\ndata_start"
    data = b"".join(4 * (struct.pack(">i", stamp) + bytes(50)) for stamp in spikes)
    path.with_suffix(".1").write_bytes(header.encode() + data + b"\r\ndata_end\r\n")
    return path.with_suffix(".set")
