"""What is carried, worn besides clothes, or sold beside them."""

BAGS = """
bag: bags; bags and luggage; bags and backpacks; bags and purses
handbag < bag: hand bags; shoulder bags; tote bags; totes; satchels; hobos; hobo bags; sling bags; bucket bags;
    cross-body bags; crossbody; top handle bags; shoppers; shopper bags; baguette bags
clutch < bag: clutches; clutch bags; evening bags; pouches; wristlets; potlis
backpack < bag: backpacks; rucksacks; school bags; daypacks; knapsacks; mini backpacks
laptop_bag < bag: laptop bags; laptop cases; laptop sleeves; briefcases; work bags
messenger_bag < bag: messenger bags; messengers; courier bags
waist_bag < bag: waist pouches; waist pouch; waist bags; bum bags; belt bags; fanny packs
mobile_pouch < bag: mobile pouches; mobile pouch; phone pouches; phone bags
luggage < bag: duffel bags; duffle bags; duffels; holdalls; weekenders; travel bags; gym bags; sports bags;
    suitcases; trolley bags; trolleys; cabin bags; garment bags
toiletry_bag < bag: toiletry bags; wash bags; cosmetic bags; make-up bags; vanity cases
wallet: wallets; purses; card holders; coin purses; money clips; card cases; billfolds; purses and wallets; passport
    holders; key cases
"""

ACCESSORIES = """
accessory: accessories; fashion accessories; other accessories; small accessories
watch: watches; wrist watches; smart watches; analogue watches; digital watches; chronographs
watch_accessory: watch straps; watch bands; watch boxes; watch winders
belt < accessory: belts; waist belts; leather belts; braces; suspenders
tie < accessory: ties; neckties; bow ties; cravats; ties and bow ties
cufflinks < accessory: cuff links; tie pins; tie clips; ties and cufflinks; lapel pins
pocket_square < accessory: pocket squares; handkerchiefs; hankies
scarf < accessory: scarves; mufflers; stoles; shawls; snoods; bandanas; neck warmers; pashminas; neckerchiefs;
    dupattas; hijabs; sarongs; pareos
gloves < accessory: mittens; arm warmers; leather gloves; winter gloves
headwear < accessory: head wear; hats and caps; caps and hats; hats, gloves and scarves
hat < headwear: hats; sun hats; fedoras; bucket hats; straw hats; panamas; trilbies; berets; turbans
cap < headwear: caps; baseball caps; snapbacks; trucker caps; visors; flat caps
beanie < headwear: beanies; woolly hats; knitted hats; winter hats; bobble hats; balaclavas
headband < headwear: headbands; head bands; sweatbands; ear muffs; wristbands
hair_accessory < accessory: hair accessories; hair clips; hair bands; hair ties; scrunchies; hair bows; hair pins;
    tiaras
eyewear: eye wear; glasses; spectacles; frames; reading glasses; optical frames; goggles
sunglasses < eyewear: sun glasses; shades; aviators; wayfarers
umbrella < accessory: umbrellas; parasols
key_ring < accessory: key rings; key chains; keychains; bag charms
tech_accessory < accessory: phone cases; mobile covers; phone covers; headphones; tablet sleeves
travel_accessory < accessory: travel accessories; luggage tags; neck pillows; eye masks
face_mask < accessory: face masks; masks; face coverings
gift_set: gift sets; accessory gift sets; gift boxes; combo sets; ties and socks sets
"""

JEWELLERY = """
jewellery: jewelry; jewels; fashion jewellery; jewellery sets; jewelry sets
ring < jewellery: rings; finger rings; signet rings
earring < jewellery: earrings; ear rings; studs; hoops; jhumkas; ear cuffs
necklace < jewellery: necklaces; necklaces and chains; chains; chokers; mangalsutras
pendant < jewellery: pendants; lockets; charms
bracelet < jewellery: bracelets; cuff bracelets; charm bracelets
bangle < jewellery: bangles; kadas
anklet < jewellery: anklets; toe rings; payals
brooch < jewellery: brooches; pins
"""

BEAUTY = """
beauty: beauty products; personal care; cosmetics; make-up; skin care; hair care
fragrance < beauty: fragrances; perfumes; perfume and body mist; body mists; colognes; eau de parfum; eau de
    toilette; fragrance gift sets
deodorant < beauty: deodorants; deos; body sprays; antiperspirants
nail_polish < beauty: nail polishes; nail varnishes; nail care
lipstick < beauty: lipsticks; lip glosses; lip balms; lip liners; lip care
"""
