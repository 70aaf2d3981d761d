"""A Modbus slave made with pymodbus 3.0: argument 1 is tcp:PORT, rtu+tcp:PORT or rtu:DEVICE.

Holding register a of unit u holds (1000 * u + a) mod 65536, but there is none
at 13; input registers 0 and 1 hold the float 21.37 as abcd, 2 and 3 as cdab;
coil a is on where a is a multiple of 3. Prints "ready" and serves until killed.
"""
import logging
import struct
import sys

import serial
from pymodbus.datastore import (
    ModbusSequentialDataBlock,
    ModbusServerContext,
    ModbusSlaveContext,
    ModbusSparseDataBlock,
)
from pymodbus.server import StartSerialServer, StartTcpServer
from pymodbus.transaction import ModbusRtuFramer, ModbusSocketFramer

logging.disable(logging.CRITICAL)


def slave(unit):
    abcd = struct.unpack(">HH", struct.pack(">f", 21.37))
    return ModbusSlaveContext(
        di=ModbusSequentialDataBlock(0, [a % 3 == 0 for a in range(100)]),
        co=ModbusSequentialDataBlock(0, [a % 3 == 0 for a in range(100)]),
        hr=ModbusSparseDataBlock({a: (1000 * unit + a) % 65536 for a in range(200) if a != 13}),
        ir=ModbusSequentialDataBlock(0, list(abcd) + list(reversed(abcd))),
        zero_mode=True,
    )


context = ModbusServerContext(slaves={1: slave(1), 2: slave(2)}, single=False)
kind, _, where = sys.argv[1].partition(":")
if kind != "rtu":
    print("ready", flush=True)  # when it listens is seen from outside
    framer = ModbusSocketFramer if kind == "tcp" else ModbusRtuFramer
    StartTcpServer(context=context, framer=framer, address=("127.0.0.1", int(where)))
else:
    opened = serial.Serial.open

    def open_and_tell(port):  # what was sent before is thrown away
        opened(port)
        print("ready", flush=True)

    serial.Serial.open = open_and_tell
    StartSerialServer(context=context, framer=ModbusRtuFramer, port=where, baudrate=115200, timeout=0.005)
