// RFC 8785 by its own vectors: appendix B for numbers, sections 3.2.2 to 3.2.4 for a whole document.
import Foundation
import JobModel
import Testing

@Suite("canonical JSON (RFC 8785)")
struct CanonicalJSONTests {
    @Test(
        "numbers print as in appendix B",
        arguments: [
            (0x0000_0000_0000_0000, "0"), (0x8000_0000_0000_0000, "0"), (0x0000_0000_0000_0001, "5e-324"),
            (0x8000_0000_0000_0001, "-5e-324"), (0x7fef_ffff_ffff_ffff, "1.7976931348623157e+308"),
            (0xffef_ffff_ffff_ffff, "-1.7976931348623157e+308"), (0x4340_0000_0000_0000, "9007199254740992"),
            (0xc340_0000_0000_0000, "-9007199254740992"), (0x4430_0000_0000_0000, "295147905179352830000"),
            (0x44b5_2d02_c7e1_4af5, "9.999999999999997e+22"), (0x44b5_2d02_c7e1_4af6, "1e+23"),
            (0x44b5_2d02_c7e1_4af7, "1.0000000000000001e+23"), (0x444b_1ae4_d6e2_ef4e, "999999999999999700000"),
            (0x444b_1ae4_d6e2_ef4f, "999999999999999900000"), (0x444b_1ae4_d6e2_ef50, "1e+21"),
            (0x3eb0_c6f7_a0b5_ed8c, "9.999999999999997e-7"), (0x3eb0_c6f7_a0b5_ed8d, "0.000001"),
            (0x41b3_de43_5555_5553, "333333333.3333332"), (0x41b3_de43_5555_5554, "333333333.33333325"),
            (0x41b3_de43_5555_5555, "333333333.3333333"), (0x41b3_de43_5555_5556, "333333333.3333334"),
            (0x41b3_de43_5555_5557, "333333333.33333343"),
        ] as [(UInt64, String)])
    func numbers(bits: UInt64, text: String) {
        #expect(String(decoding: JSONValue.number(Double(bitPattern: bits)).canonical, as: UTF8.self) == text)
    }

    @Test("the document of section 3.2.2 becomes the bytes of section 3.2.4")
    func document() throws {
        let source = #"""
            {
              "numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
              "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
              "literals": [null, true, false]
            }
            """#
        let expected =
            #"{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#
        let value = try JSONParser.parse(Array(source.utf8)).json
        #expect(String(decoding: value.canonical, as: UTF8.self) == expected)
    }

    @Test("keys sort by UTF-16 code units, as in section 3.2.3")
    func keyOrder() throws {
        let source = #"""
            {"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
             "\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"}
            """#
        let canonical = String(decoding: try JSONParser.parse(Array(source.utf8)).json.canonical, as: UTF8.self)
        let order = ["Carriage Return", "One", "Control", "Latin Small", "Euro Sign", "Emoji", "Hebrew"]
        let positions = try order.map { try #require(canonical.range(of: $0)).lowerBound }
        #expect(positions == positions.sorted())
    }

    @Test("canonical bytes parse back to the same value")
    func roundTrip() throws {
        let value = try JSONParser.parse(Array(#"{"b":[1,2.5,-0.001,"\u0000\t"],"a":{"z":null,"y":true}}"#.utf8)).json
        #expect(try JSONParser.parse(value.canonical).json.canonical == value.canonical)
    }
}
